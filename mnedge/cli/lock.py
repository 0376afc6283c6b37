"""`mnedge lock`: constraints for pip, so that a build can be made again in a year."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mnedge.choices import CONSTRAINTS
from mnedge.cli import _options as options
from mnedge.cli._options import Force, Json
from mnedge.cli._output import print_json, say

PANEL = "Ship"


def command(
    *,
    out: Annotated[Path, options.out_file(f"Write the constraints into this file. [default: {CONSTRAINTS}]")] = Path(
        CONSTRAINTS
    ),
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the versions of all packages in use.

    \b
    mnedge lock
    pip install -c mnedge-constraints.txt mnedge
    mnedge build --recipe mine.yaml --locked-to mnedge-constraints.txt

    The file holds mnedge and every package that it needs, directly or through others. `build --locked` reads it from
    the current folder where the build has no manifest.json yet.
    """
    from mnedge.workflows.lock import lock

    pins = lock(out, force=force)
    if as_json:
        print_json(pins)
        return
    say(f"{out} pins {len(pins)} packages; keep it beside your recipe")
