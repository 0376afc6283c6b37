"""`mnedge bundle`: what an app, a board or a firmware takes, from the folder of a build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnedge.bundles._android_runtimes import AndroidRuntime
from mnedge.cli import _options as options
from mnedge.cli._options import Force, Json
from mnedge.cli._output import print_json, say

PANEL = "Ship"


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of bundle, see below.")],
    built: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `mnedge build` wrote.")],
    *,
    out: Annotated[Path, options.out_folder("Write the bundle into this folder.")],
    version: Annotated[str, typer.Option(metavar="V", help="Version of what is shipped.")] = "1.0.0",
    group: Annotated[
        str, typer.Option(metavar="G", help="Maven group and Java package of an Android bundle.")
    ] = "models.mnedge",
    terms: Annotated[
        str | None,
        typer.Option("--license", metavar="TEXT", help="Licence of the weights; stands in the model's metadata."),
    ] = None,
    target: Annotated[
        str, typer.Option(metavar="NAME", help="Ship the C of this microcontroller alone. [default: all of the build]")
    ] = "",
    runtime: Annotated[
        AndroidRuntime,
        typer.Option(help="Runtime of an Android app: MediaPipe Tasks, LiteRT or ONNX Runtime."),
    ] = "tasks",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make what an app, board or firmware takes from a build.

    \b
    android             the model of one runtime, .aar with R8's rules, Gradle, Kotlin, camera
    raspberry-pi        models, classify.py, requirements, systemd unit; folder and .tar.gz
    microcontroller     the compiled C as CMake project and as Arduino library
    onnxruntime-mobile  .ort, and the operators that it needs

    \b
    mnedge bundle android artifacts/mobilenet_v3_small_1.0_224 -o bundles/android
    mnedge verify bundles/android

    The same build gives the same bytes; SOURCE_DATE_EPOCH dates the archives. Every bundle has a manifest.json with
    the checksum of each file.
    """
    from mnedge.workflows.bundle import Release, archive_path, bundle

    release = Release(group=group, version=version, target=target, runtime=runtime)
    if terms:
        release = Release(group=group, version=version, target=target, runtime=runtime, license=terms)
    manifest = bundle(built, kind, out, release, force=force)
    if as_json:
        print_json(manifest)
        return
    for row in manifest.files:
        say(f"{row.bytes:>12,}  {row.path}")
    say(f"{out}/ is the {kind} bundle of {manifest.slug}")
    if archive_path(out).is_file():
        say(f"{archive_path(out)} is the same in one file")
