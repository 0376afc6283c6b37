"""`mnedge bundle`: what an app, a board or a firmware takes, from the folder of a build."""

from __future__ import annotations

from pathlib import Path

import click

from mnedge.cli._output import force_option, json_option, print_json

PANEL = "Ship"


@click.command()
@click.argument("kind", metavar="KIND")
@click.argument("built", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write.")
@click.option("--version", default="1.0.0", show_default=True, help="Version of what is shipped.")
@click.option("--group", default="models.mnedge", show_default=True, help="Maven group and Java package, for Android.")
@click.option("--license", "terms", metavar="TEXT", help="Licence of the weights; it goes into the model's metadata.")
@click.option(
    "--target", default="", metavar="NAME", help="Only this microcontroller, where the build has C for several."
)
@force_option
@json_option
def command(
    kind: str,
    built: Path,
    out: Path,
    version: str,
    group: str,
    terms: str | None,
    target: str,
    force: bool,
    as_json: bool,
) -> None:
    """Make the bundle KIND from DIR, a folder that `mnedge build` wrote.

    \b
    android             .tflite with labels inside, assets, .aar, Gradle and Kotlin
    raspberry-pi        models, classify.py, requirements, systemd unit; folder and .tar.gz
    microcontroller     the compiled C as CMake project and as Arduino library
    onnxruntime-mobile  .ort, and the operators that it needs

    \b
    mnedge bundle android artifacts/mobilenet_v3_small_1.0_224 --out bundles/android
    mnedge verify bundles/android

    The same build gives the same bytes; SOURCE_DATE_EPOCH dates the archives. Every bundle has a manifest.json with
    the checksum of each file.
    """
    from mnedge.workflows.bundle import Release, archive_path, ship

    release = Release(group=group, version=version, target=target, **({"license": terms} if terms else {}))
    manifest = ship(built, kind, out, release, force=force)
    if as_json:
        print_json(manifest)
        return
    for row in manifest["files"]:
        click.echo(f"{row['bytes']:>12,}  {row['path']}")
    click.echo(f"{out}/ is the {kind} bundle of {manifest['slug']}")
    if archive_path(out).is_file():
        click.echo(f"{archive_path(out)} is the same in one file")
