"""`mnedge search`: the variant that fits a device, chosen and trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast, get_args

import typer

from mnedge.choices import DEFAULT_TASK, Granularity
from mnedge.cli import _options as options
from mnedge.cli._options import CheckData, Force, Json, Seed, Target, TaskName, Threads
from mnedge.cli._output import print_json, print_table, progress, say
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.results.search import SearchResult
    from mnedge.results.tradeoff import TradeoffRow

Value = TypeVar("Value")
_INTERRUPTED = 130
_SHOWN_EXCLUDED = 8


PANEL = "Build"


def command(
    *,
    target: Target[str],
    data: Annotated[
        str | None,
        options.data("Pictures: a folder, a labels.csv, or demo. [default: none, and nothing is trained]"),
    ] = None,
    task: TaskName[str] = DEFAULT_TASK,
    head: Annotated[
        str | None, typer.Option(metavar="HEAD", help="Head of segment: lr-aspp or deeplab. [default: the first]")
    ] = None,
    max_arena: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Largest arena, with input and output as an interpreter's has them, e.g. 256K. [default: the "
            "target's RAM]",
        ),
    ] = None,
    max_ram: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Largest RAM: the arena with input and output, and the stack of a run."),
    ] = None,
    max_flash: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Largest code and constants, e.g. 1M. [default: the target's flash]"),
    ] = None,
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Largest int8 .tflite, e.g. 2M.")] = None,
    max_macs: Annotated[str | None, typer.Option(metavar="N", help="Most multiply-adds per picture, e.g. 10M.")] = None,
    max_ms: Annotated[float | None, typer.Option(help="Longest latency, in milliseconds.")] = None,
    variant: Annotated[
        list[str] | None, typer.Option(metavar="FAMILY", help="Family; repeatable. [default: all]")
    ] = None,
    alpha: Annotated[
        str | None, typer.Option(metavar="A,…", help="Width multipliers. [default: the published ones]")
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option(
            metavar="R,…",
            help="Sides of the input in pixels. [default: 96,128,160,192,224; 32,48,64 too for small pictures]",
        ),
    ] = None,
    granularity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(get_args(Granularity)),
            help="Granularity of the weight scales; repeatable. [default: the target's]",
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Number of classes. [default: those of the data, or 1000]")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="W", help="Weights to train from: imagenet, random, or files; repeatable. [default: imagenet]"
        ),
    ] = None,
    train: Annotated[int, typer.Option(min=0, help="Number of variants to train.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Epochs of the longest training.")] = 12,
    measure: Annotated[int, typer.Option(min=3, help="Number of variants to measure for the latency model.")] = 8,
    device: Annotated[str | None, options.measuring("local, or the target's emulated core")] = None,
    threads: Threads[int] = 1,
    clock_mhz: Annotated[
        float | None, typer.Option(help="Clock of the microcontroller. [default: that of the target's part]")
    ] = None,
    cycles_per_instruction: Annotated[float, typer.Option(help="Cycles per instruction of the microcontroller.")] = 1.0,
    budget: Annotated[
        float | None, typer.Option(metavar="MINUTES", help="Minutes until the search ends with its best result so far.")
    ] = None,
    check_data: CheckData = False,
    seed: Seed[int] = 0,
    out: Annotated[
        Path | None, options.out_folder("Write into this folder. [default: artifacts/search-TARGET]")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> int:
    """Find the most accurate variant that fits a device.

    Variants that cannot fit are ruled out before anything is trained: arena and flash come from the compiler's own
    plan, latency from a model of a few measurements, whose error is stated. The others are ranked by their published
    accuracy, and the best few are trained on your pictures, the better half of each round for twice as long.

    Writes search.json, search.html, recipe.yaml for `mnedge build --recipe`, and the trained weights. Ctrl-C or
    --budget end it with what there is; the same command goes on from there.

    \b
    mnedge search --data photos --target cortex-m7 --max-arena 256K --max-flash 1M --max-ms 100
    mnedge search --data photos --target raspberry-pi-4 --max-ms 20 --device ssh://pi@raspberrypi.local
    mnedge search --target cortex-m4 --max-arena 64K --max-flash 512K --classes 2
    mnedge search --task detect --data cells --target raspberry-pi-4 --max-ms 40
    """
    from mnedge.workflows.search.run import default_out, nearest_miss, search

    folder = default_out(target) if out is None else out
    alphas, resolutions = _listed("--alpha", alpha, float), _listed("--resolution", resolution, int)
    with progress() as report:
        result = search(
            target,
            data=data,
            task=task,
            head=head,
            max_arena=max_arena,
            max_ram=max_ram,
            max_flash=max_flash,
            max_size=max_size,
            max_macs=max_macs,
            max_ms=max_ms,
            variants=variant or (),
            alphas=alphas,
            resolutions=resolutions,
            granularities=cast("list[Granularity]", granularity or []),
            classes=classes,
            weights=weights or ("imagenet",),
            train=train,
            epochs=epochs,
            measure=measure,
            device=device,
            threads=threads,
            clock_mhz=clock_mhz,
            cycles_per_instruction=cycles_per_instruction,
            budget_s=None if budget is None else 60 * budget,
            check_data=check_data,
            seed=seed,
            out=folder,
            force=force,
            progress=report,
        )
    _print(result, folder, as_json=as_json)
    if result.failure is not None:
        raise result.failure.error
    if result.chosen is None and result.stopped != "interrupted":
        raise nearest_miss(result)
    return _INTERRUPTED if result.stopped == "interrupted" else 0


def _listed(option: str, text: str | None, kind: Callable[[str], Value]) -> tuple[Value, ...]:
    """Numbers with commas between them, e.g. 0.35,0.5."""
    if text is None:
        return ()
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as exc:
        raise InputError(f"{option} {text}: give numbers with commas between them, e.g. 96,128") from exc


def _print(result: SearchResult, folder: Path, *, as_json: bool) -> None:
    if as_json:
        from mnedge.results.stored import as_json as json_values

        print_json(json_values(result))
        return
    from mnedge.report.tradeoff import table

    rows = [row.tradeoff for row in result.rows]
    out = [row for row in rows if row.status == "excluded"]
    # Those that miss least are worth a line; search.html has all.
    shown = [row for row in rows if row.status != "excluded"] + sorted(out, key=_miss)[:_SHOWN_EXCLUDED]
    printed = table(shown, result.metric)
    title = f"{len(rows)} variants for {result.target}, {len(out)} excluded"
    print_table(title, printed.columns, [[cell.text for cell in row] for row in printed.rows])
    if len(out) > _SHOWN_EXCLUDED:
        say(f"{_SHOWN_EXCLUDED} of the {len(out)} excluded variants are shown, the nearest first.")
    for note in (*printed.notes, *result.notes):
        say(note)
    if result.chosen:
        say(f"Chosen: {result.chosen}. Build it: mnedge build --recipe {folder / 'recipe.yaml'}")
    say(f"{folder}/ holds the account; open {folder / 'search.html'} to see it")


def _miss(row: TradeoffRow) -> float:
    """Returns the largest ratio of an excluded variant's need to its limit."""
    return max((broken.needed or 0.0) / (broken.allowed or 1.0) for broken in row.broken)
