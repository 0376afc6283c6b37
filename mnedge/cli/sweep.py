"""`mnedge sweep`: a recipe over a grid of values, on this machine or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.cli import _options as options
from mnedge.cli._options import CheckData, Force, Json
from mnedge.cli._output import print_json, print_table, progress, say
from mnedge.errors import ToolError

if TYPE_CHECKING:
    from mnedge.results.sweep import SweepResult

_INTERRUPTED = 130


PANEL = "Build"


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Recipe: a name or a file.", show_default=False)],
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=V,V…", help="More keys and their values.", show_default=False),
    ] = None,
    *,
    over: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=V,V…", help="Key and its values; repeatable, and more may follow.", show_default=False
        ),
    ],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine. [default: one per two cores]")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="URI", help="Address of a Dask scheduler, e.g. tcp://10.0.0.1:8786.")
    ] = None,
    shard: Annotated[int, typer.Option(min=1, help="Pictures that a worker evaluates at a time.")] = 500,
    device: Annotated[str | None, options.measuring("local, or none with --scheduler")] = None,
    check_data: CheckData = False,
    out: Annotated[Path | None, options.out_folder("Write into this folder. [default: artifacts/sweep-RECIPE]")] = None,
    force: Force = False,
    as_json: Json = False,
) -> int:
    """Build every point of a grid and evaluate its artifacts.

    The work is split into builds and into shards of the pictures, for processes that share this machine's cores, or,
    with --scheduler, for the workers of a Dask cluster. A worker that dies costs one unit of work, and no machine is
    sent the same pictures twice. Answers are kept as they come: after Ctrl-C the same command goes on.

    \b
    mnedge sweep demo --over alpha=0.35,0.5,1.0 resolution=64,96 --workers 2
    mnedge sweep mine.yaml --over variant=v1,v2,v3-small --scheduler tcp://10.0.0.1:8786
    """
    from mnedge.workflows.sweep.grid import parse_axes
    from mnedge.workflows.sweep.run import default_out, sweep

    folder = default_out(recipe) if out is None else out
    with progress() as report:
        result = sweep(
            recipe,
            parse_axes((*over, *(more or ()))),
            workers=workers,
            scheduler=scheduler,
            shard=shard,
            device=device,
            check_data=check_data,
            out=folder,
            force=force,
            progress=report,
        )
    _print(result, folder, as_json=as_json)
    failed = [f"{row.tradeoff.name}: {row.error.strip()}" for row in result.rows if row.error is not None]
    if failed:
        raise ToolError("\n".join(failed))
    return _INTERRUPTED if result.stopped == "interrupted" else 0


def _print(result: SweepResult, folder: Path, *, as_json: bool) -> None:
    if as_json:
        from mnedge.results.stored import as_json as json_values

        print_json(json_values(result))
        return
    from mnedge.recipe import HEADLINES
    from mnedge.report.tradeoff import table

    printed = table([row.tradeoff for row in result.rows], HEADLINES[result.metric])
    print_table(f"Sweep of {result.recipe}", printed.columns, [[cell.text for cell in row] for row in printed.rows])
    for note in result.notes:
        say(note)
    say(f"{result.units.done} units of work done, {result.units.known} known from before")
    say(f"{folder}/ holds the artifacts; open {folder / 'sweep.html'} to see them")
