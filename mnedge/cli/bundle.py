"""`mnedge bundle`: what an app, a board or a firmware takes, from the folder of a build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mnedge import registry
from mnedge.choices import AndroidRuntime
from mnedge.cli import _options as options
from mnedge.cli._options import Force, Json
from mnedge.cli._output import print_json, print_table, say
from mnedge.errors import GateError, InputError

PANEL = "Ship"
_KINDS = registry.names("mnedge.bundles")


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"Kind of bundle: {', '.join(_KINDS)}.")],
    built: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder that `mnedge build` wrote.", show_default=False)
    ] = None,
    *,
    out: Annotated[Path | None, options.out_folder("Write the bundle into this folder.")] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="APK", help="Check the models and libraries of this APK or AAB; nothing is written."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="V", help="Version of the bundle. [default: the recipe's, or 1.0.0]")
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="G", help="Maven group and Java package of Android. [default: the recipe's, or models.mnedge]"
        ),
    ] = None,
    terms: Annotated[
        str | None,
        typer.Option("--license", metavar="TEXT", help="Licence of the weights, for metadata and card."),
    ] = None,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Purpose of the model, a sentence for its card.")
    ] = None,
    target: Annotated[
        str, typer.Option(metavar="NAME", help="Ship the C of this microcontroller alone. [default: all of the build]")
    ] = "",
    runtime: Annotated[
        AndroidRuntime,
        typer.Option(
            help="Runtime of an Android app: MediaPipe Tasks, LiteRT or ONNX Runtime; of a page LiteRT.js or, "
            "with onnx, ONNX Runtime Web."
        ),
    ] = "tasks",
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Score from which the programs say the second of two classes, a label or an object. [default: the "
            "recipe's, or the more probable class; labels 0.5; objects 0.4, on Android 0.3]",
        ),
    ] = None,
    sbom: Annotated[
        bool, typer.Option("--sbom", help="Add sbom.cdx.json: the bill of materials as CycloneDX 1.6.")
    ] = False,
    sign: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Sign all files with this private key (PEM, elliptic curve).")
    ] = None,
    modules: Annotated[
        Path | None,
        typer.Option("--with-runtime", metavar="DIR", help="Copy the runtime of a page from this node_modules."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a bundle for an app, a board or a firmware.

    \b
    mnedge bundle android artifacts/mobilenet_v3_small_1.0_224 -o bundles/android
    mnedge verify bundles/android
    mnedge bundle raspberry-pi artifacts/mine -o bundles/pi --sbom --sign key.pem
    mnedge verify bundles/pi --key public.pem
    mnedge bundle web artifacts/mine -o bundles/web --threshold 0.35
    mnedge bundle android --check app-release.apk

    Version, group, licence and description also come from `release` of the build's recipe, the threshold from its
    `threshold`.

    The same build gives the same bytes; SOURCE_DATE_EPOCH dates the archives. Every bundle has a manifest.json with
    the checksum of each file, and a MODEL_CARD.md.

    --check reads an app: whether its models are stored and on a page's start, its libraries aligned to 16 KB, and its
    runtime new enough for the ops. Exits 1 where something asks for a repair.
    """
    if check is not None:
        _check(check, kind, out or built, as_json=as_json)
        return
    if built is None or out is None:
        raise InputError("bundle takes the folder of a build and --out DIR; see mnedge bundle --help")
    from mnedge.bundles._archive import archive_path
    from mnedge.workflows.bundle import bundle
    from mnedge.workflows.release import release_of

    flags = {"version": version, "group": group, "license": terms, "description": description}
    said = {name: text for name, text in flags.items() if text is not None}
    release = release_of(built, said, target=target, runtime=runtime)
    if threshold is not None:
        release = replace(release, threshold=threshold)
    manifest = bundle(built, kind, out, release, sbom=sbom, sign=sign, modules=modules, force=force)
    if broken := [gate.name for gate in manifest.gates if not gate.passed]:
        say(f"mnedge: {built} broke {', '.join(broken)}, and the bundle's manifest says so", err=True)
    if as_json:
        print_json(manifest)
        return
    for row in manifest.files:
        say(f"{row.bytes:>12,}  {row.path}")
    say(f"{out}/ is the {kind} bundle of {manifest.slug}")
    if archive_path(out).is_file():
        say(f"{archive_path(out)} is the same in one file")


def _check(app: Path, kind: str, more: Path | None, *, as_json: bool) -> None:
    from mnedge.workflows.check_app import check_app

    if more is not None:
        raise InputError("--check reads one app, and writes nothing: mnedge bundle KIND --check APK")
    found = check_app(app, kind)
    if as_json:
        print_json(found)
    else:
        rows = [(row.state, row.subject or None, row.says) for row in found.rows]
        print_table(f"{found.path} ({found.kind.upper()})", ("state", "file", "says"), rows)
    if found.wrong:
        raise GateError(f"{app}: {len(found.wrong)} of {len(found.rows)} checks ask for a repair")
