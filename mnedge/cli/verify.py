"""`mnedge verify`: checks that a bundle or a build is unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnedge.cli._options import Json
from mnedge.cli._output import print_json, say

PANEL = "Ship"


def command(
    paths: Annotated[list[Path], typer.Argument(metavar="BUNDLE", help="Folders of bundles or builds, or .tar.gz.")],
    *,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC", help="Also check each bundle's signature with this public key."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check bundles and builds against their checksums.

    A bundle's manifest.json lists all its files. A build's lists the artifacts and labels.txt, and its checksums.json
    the manifest and the reports; bundles that the build made are checked with it. What Python makes beside a program
    that runs, __pycache__ and virtual environments, is named and not looked into.

    \b
    mnedge verify bundles/android
    mnedge verify bundles/pi.tar.gz artifacts/mobilenet_v3_small_1.0_224
    mnedge verify bundles/pi --key public.pem

    Exits 2 where a file is missing, was changed, or does not belong there. The checksums show damage and mix-ups; who
    can write the folder can write the manifest too, so they prove no origin: that is what `mnedge bundle --sign` and
    --key are for.
    """
    from mnedge.workflows.verify import verify

    rows = [verify(path, key=key) for path in paths]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        signed = f", signed by the owner of {key}" if row.signed else ""
        say(f"{row.path}: {row.bundle} of {row.slug}, {row.files} files as they were{signed}")
        if row.passed_over:
            say(f"{row.path}: not looked into, as Python made them there: {', '.join(row.passed_over)}")
        if row.broken_gates:
            say(f"{row.path}: the build broke {', '.join(row.broken_gates)}")
