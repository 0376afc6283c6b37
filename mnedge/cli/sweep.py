"""`mnedge sweep`: a recipe over a grid of values, on this machine or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnedge.cli._output import force_option, json_option, print_json, print_table, progress
from mnedge.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTERRUPTED = 130


PANEL = "Build"


@click.command()
@click.argument("recipe_name", metavar="RECIPE")
@click.argument("more", metavar="[KEY=V,V...]...", nargs=-1)
@click.option("--over", multiple=True, required=True, metavar="KEY=V,V…", help="A key and its values; more may follow.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes on this machine. [default: one for two cores]")
@click.option("--scheduler", metavar="URI", help="Address of a Dask scheduler, e.g. tcp://10.0.0.1:8786.")
@click.option("--shard", default=500, show_default=True, type=click.IntRange(min=1), help="Pictures of a shard.")
@click.option(
    "--device", metavar="URI", help="Where latency is measured. [default: local, or nowhere with --scheduler]"
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder. [default: artifacts/sweep-RECIPE]"
)
@force_option
@json_option
def command(
    recipe_name: str,
    more: tuple[str, ...],
    over: tuple[str, ...],
    workers: int | None,
    scheduler: str | None,
    shard: int,
    device: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Build every point of a grid over RECIPE and evaluate its artifacts.

    Builds and shards of the pictures are tasks: for processes that share this machine's cores, or, with --scheduler,
    for the workers of a Dask cluster. A worker that dies costs its task only, and no machine is sent the same pictures
    twice. Answers are kept as they come: after Ctrl-C the same command goes on.

    \b
    mnedge sweep demo --over alpha=0.35,0.5,1.0 resolution=64,96 --workers 2
    mnedge sweep mine.yaml --over variant=v1,v2,v3-small --scheduler tcp://10.0.0.1:8786
    """
    from mnedge import recipe
    from mnedge.workflows.sweep import account
    from mnedge.workflows.sweep.grid import parse_axes, points
    from mnedge.workflows.sweep.processes import cores
    from mnedge.workflows.sweep.run import Settings, sweep

    grid = points(recipe.load(recipe_name), parse_axes((*over, *more)))
    settings = Settings(
        grid,
        out or Path("artifacts") / f"sweep-{Path(recipe_name).stem}",
        scheduler,
        workers or max(1, cores() // 2),
        shard,
        device if device is not None else "" if scheduler else "local",
        force=force,
    )
    with progress() as told:
        swept = sweep(settings, told)
        latency_ms = {} if swept.is_interrupted else account.latencies(swept, settings, told)
    result = account.write(swept, settings, latency_ms, recipe=Path(recipe_name).stem)
    if as_json:
        print_json(result)
    else:
        _print(result, settings.out)
    failed = [row for row in result["rows"] if row["status"] == "failed"]
    if failed:
        raise ToolError("\n".join(f"{row['name']}: {row['error'].strip()}" for row in failed))
    return _INTERRUPTED if swept.is_interrupted else 0


def _print(result: Mapping[str, Any], folder: Path) -> None:
    from mnedge.report.tradeoff import table

    printed = table(result["rows"])
    print_table(f"Sweep of {result['recipe']}", printed.columns, [[cell.text for cell in row] for row in printed.rows])
    for note in result["notes"]:
        click.echo(note)
    tasks = result["tasks"]
    click.echo(f"{tasks['done']} tasks done, {tasks['known']} known from before")
    click.echo(f"{folder}/ holds the artifacts; open {folder / 'sweep.html'} to see them")
