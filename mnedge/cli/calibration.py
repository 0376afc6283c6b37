"""`mnedge calibration`: the calibration sets that come with mnedge."""

from __future__ import annotations

from typing import Annotated

import typer

from mnedge.cli._options import Json
from mnedge.cli._output import print_json, print_table

PANEL = "Look"


def command(
    name: Annotated[str | None, typer.Argument(help="The set to show; all are listed without it.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the calibration sets that come with mnedge, or show one.

    \b
    mnedge calibration
    mnedge calibration folder > mine.yaml
    mnedge build --variant v2 --int8 --data photos --calibration mine.yaml
    """
    from mnedge.data import calibration
    from mnedge.errors import InputError

    if name is not None and name not in calibration.names():
        raise InputError.unknown("calibration set", name, calibration.names())
    shown = {known: calibration.describe(known) for known in ([name] if name else calibration.names())}
    if as_json:
        print_json([{"name": known, **described} for known, described in shown.items()])
    elif name is not None:
        typer.echo((calibration.folder() / f"{name}.yaml").read_text(encoding="utf-8"), nl=False)
    else:
        rows = ((known, row["images"], row["data"], row["source"], row["licence"]) for known, row in shown.items())
        print_table("Calibration sets", ("name", ">images", "data", "source", "licence"), rows)
