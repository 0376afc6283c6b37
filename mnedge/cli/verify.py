"""`mnedge verify`: is a bundle or a build still what it was?"""

from __future__ import annotations

from pathlib import Path

import click

from mnedge.cli._output import json_option, print_json

PANEL = "Ship"


@click.command()
@click.argument("paths", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def command(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check every file of a bundle, its .tar.gz, or a build against its checksums.

    A bundle's manifest.json lists all its files. A build's lists the artifacts and labels.txt, and its checksums.json
    the manifest and the reports; bundles that the build made are checked with it.

    \b
    mnedge verify bundles/android
    mnedge verify bundles/pi.tar.gz artifacts/mobilenet_v3_small_1.0_224

    Exits 2 where a file is missing, was changed, or does not belong there. The checksums show damage and mix-ups; who
    can write the folder can write the manifest too, so they prove no origin.
    """
    from mnedge.workflows.bundle import verify

    rows = [{"path": str(path), **verify(path)} for path in paths]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['path']}: {row['bundle']} of {row['slug']}, {row['files']} files as they were")
