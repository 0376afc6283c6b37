"""`mnedge search`: the variant that fits a device, chosen and trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnedge.cli._output import force_option, json_option, print_json, print_table, progress
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mnedge.workflows.search.run import Settings
    from mnedge.workflows.search.trainer import TransferTrainer

Value = TypeVar("Value")
_INTERRUPTED = 130
_SHOWN_EXCLUDED = 8


PANEL = "Build"


@click.command()
@click.option("--target", required=True, metavar="NAME", help="What it is for; see `mnedge targets`.")
@click.option(
    "--data", metavar="D", help="Your pictures: a folder, a labels.csv, or demo. Without, nothing is trained."
)
@click.option("--max-arena", metavar="SIZE", help="Largest arena, e.g. 256K. [default: the target's RAM]")
@click.option("--max-flash", metavar="SIZE", help="Most code and constants, e.g. 1M. [default: the target's flash]")
@click.option("--max-size", metavar="SIZE", help="Largest int8 .tflite, e.g. 2M.")
@click.option("--max-macs", metavar="N", help="Most multiply-adds of a picture, e.g. 10M.")
@click.option("--max-ms", type=click.FloatRange(min=0, min_open=True), help="Longest latency, in milliseconds.")
@click.option("--variant", "families", multiple=True, metavar="FAMILY", help="Repeatable. [default: all]")
@click.option("--alpha", metavar="A,…", help="Widths. [default: the published ones]")
@click.option("--resolution", metavar="R,…", help="Sides of the input. [default: 96,128,160,192,224]")
@click.option("--granularity", multiple=True, help="per-channel, per-tensor; repeatable. [default: the target's]")
@click.option("--classes", type=int, help="Number of classes. [default: those of the data, or 1000]")
@click.option(
    "--weights",
    "sources",
    multiple=True,
    metavar="W",
    help="imagenet, random, or files; repeatable. [default: imagenet]",
)
@click.option("--train", "trained", default=4, show_default=True, type=click.IntRange(min=0), help="How many to train.")
@click.option("--epochs", default=12, show_default=True, type=click.IntRange(min=1), help="Of the longest training.")
@click.option("--measure", default=8, show_default=True, type=click.IntRange(min=3), help="How many to measure.")
@click.option(
    "--device", metavar="URI", help="Where latency is measured. [default: local, or the target's emulated core]"
)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(min=1), help="Threads of the runtime.")
@click.option("--clock-mhz", type=float, help="Clock of the microcontroller. [default: that of the target's part]")
@click.option(
    "--cycles-per-instruction", default=1.0, show_default=True, help="Cycles an instruction is taken to last."
)
@click.option(
    "--budget", type=click.FloatRange(min=0, min_open=True), metavar="MINUTES", help="End with what there is."
)
@click.option(
    "--check-data", is_flag=True, help="Read every picture again; do not trust what the cache remembers of them."
)
@click.option("--seed", default=0, show_default=True, help="Of the training.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder. [default: artifacts/search-TARGET]"
)
@force_option
@json_option
def command(target: str, out: Path | None, force: bool, as_json: bool, **flags: Any) -> int:  # noqa: ANN401
    """Find the most accurate variant that fits a device.

    What cannot fit is ruled out before anything is trained: arena and flash come from the compiler's own plan, latency
    from a model of a few measurements, whose error is stated. What fits is ranked by its published accuracy, and the
    best few are trained on your pictures, the better half of each round for twice as long.

    Writes search.json, search.html, recipe.yaml for `mnedge build --recipe`, and the trained weights. Ctrl-C or
    --budget end it with what there is; the same command goes on from there.

    \b
    mnedge search --data photos --target cortex-m7 --max-arena 256K --max-flash 1M --max-ms 100
    mnedge search --data photos --target raspberry-pi-4 --max-ms 20 --device ssh://pi@raspberrypi.local
    mnedge search --target cortex-m4 --max-arena 64K --max-flash 512K --classes 2
    """
    from mnedge.artifact import check_file, check_reachable
    from mnedge.workflows.search.account import RECIPE, write
    from mnedge.workflows.search.run import nearest_miss, search

    folder = out or Path("artifacts") / f"search-{target}"
    check_reachable(folder)
    for path in (*(folder / name for name in (RECIPE, "search.json", "search.html")), *folder.glob("*.keras")):
        check_file(path, force=force)
    settings, train = _settings(target, flags)
    with progress() as told:
        found = search(settings, train, told)
    chosen = found.chosen
    trained = train.paths.get(chosen.candidate) if train is not None and chosen is not None else None
    result = write(found, settings, folder, data=flags["data"], trained=trained, force=force)
    if as_json:
        print_json(result)
    else:
        _print(result, folder)
    if found.error is not None:
        raise found.error
    if chosen is None and found.stopped != "interrupted":
        raise nearest_miss(found)
    return _INTERRUPTED if found.stopped == "interrupted" else 0


def _settings(target: str, flags: Mapping[str, Any]) -> tuple[Settings, TransferTrainer | None]:
    from mnedge import data, targets
    from mnedge.workflows.search.candidates import candidates
    from mnedge.workflows.search.limits import Limits, parse_bytes, parse_count
    from mnedge.workflows.search.run import Settings
    from mnedge.workflows.search.timing import stopwatch
    from mnedge.workflows.search.trainer import trainer

    chosen = targets.get(target)

    def size(name: str, typical: int = 0) -> int | None:
        given = flags[name.lstrip("-").replace("-", "_")]
        return (typical or None) if given is None else parse_bytes(given, name)

    macs = flags["max_macs"]
    limits = Limits(
        size("--max-arena", chosen.ram_bytes),
        size("--max-flash", chosen.flash_bytes),
        size("--max-size"),
        None if macs is None else parse_count(macs, "--max-macs"),
        flags["max_ms"],
    )
    dataset = data.open_dataset(flags["data"]) if flags["data"] else None
    if dataset is not None and flags["check_data"]:
        dataset = dataset.read_again()
    classes = len(dataset.classes) if dataset is not None else 1000 if flags["classes"] is None else flags["classes"]
    if dataset is not None and flags["classes"] not in (None, classes):
        raise InputError(
            f"--classes {flags['classes']} does not fit {flags['data']}, which has {classes}; leave it out"
        )
    for name in flags["granularity"]:
        if name not in ("per-channel", "per-tensor"):
            raise InputError.unknown("granularity", name, ("per-channel", "per-tensor"))
    watch = stopwatch(
        target,
        device=flags["device"],
        threads=flags["threads"],
        clock_mhz=flags["clock_mhz"],
        cycles_per_instruction=flags["cycles_per_instruction"],
    )
    settings = Settings(
        target,
        candidates(
            classes,
            families=flags["families"],
            alphas=_listed("--alpha", flags["alpha"], float),
            resolutions=_listed("--resolution", flags["resolution"], int),
            granularities=flags["granularity"] or (chosen.granularity,),
        ),
        limits,
        watch,
        measured=flags["measure"],
        trained=flags["trained"],
        epochs=flags["epochs"],
        budget_s=None if flags["budget"] is None else 60 * flags["budget"],
    )
    sources = flags["sources"] or ("imagenet",)
    if dataset is None or not settings.trained:
        return settings, None
    return settings, trainer(dataset, sources, epochs=flags["epochs"], seed=flags["seed"])


def _listed(option: str, text: str | None, kind: Callable[[str], Value]) -> tuple[Value, ...]:
    """Numbers with commas between them, e.g. 0.35,0.5."""
    if text is None:
        return ()
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as exc:
        raise InputError(f"{option} {text}: give numbers with commas between them, e.g. 96,128") from exc


def _print(result: Mapping[str, Any], folder: Path) -> None:
    from mnedge.report.tradeoff import table

    rows = result["rows"]
    out = [row for row in rows if row["status"] == "excluded"]
    # Those that miss least are worth a line; search.html has all.
    shown = [row for row in rows if row["status"] != "excluded"] + sorted(out, key=_miss)[:_SHOWN_EXCLUDED]
    printed = table(shown)
    title = f"{len(rows)} variants for {result['target']}, {len(out)} excluded"
    print_table(title, printed.columns, [[cell.text for cell in row] for row in printed.rows])
    if len(out) > _SHOWN_EXCLUDED:
        click.echo(f"Of the {len(out)} excluded ones the nearest are shown.")
    for note in (*printed.notes, *result["notes"]):
        click.echo(note)
    if result["chosen"]:
        click.echo(f"Chosen: {result['chosen']}. Build it: mnedge build --recipe {folder / 'recipe.yaml'}")
    click.echo(f"{folder}/ holds the account; open {folder / 'search.html'} to see it")


def _miss(row: Mapping[str, Any]) -> float:
    return max(float(broken["needed"] / broken["allowed"]) for broken in row["broken"])
