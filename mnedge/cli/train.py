"""`mnedge train`: transfer learning on own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnedge.cli._output import force_option, json_option, print_json, print_table, progress
from mnedge.models import families

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.training.settings import Epoch, Schedule


_SUSPECTS = 10


PANEL = "Build"


@click.command()
@click.option(
    "--data",
    required=True,
    metavar="D",
    help="A folder with one folder per class, a labels.csv, or demo; to detect and segment, see the README.",
)
@click.option(
    "--variant",
    default="v3-small",
    show_default=True,
    metavar="FAMILY",
    help=f"One of {', '.join(families.names())}.",
)
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Width multiplier.")
@click.option(
    "--resolution", type=click.IntRange(min=1), help="Side of the input in pixels. [default: 224, or 96 for demo]"
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="W",
    help="Where the backbone starts: imagenet, random, or a .h5, .weights.h5 or .keras file.",
)
@click.option("--task", "task_name", default="classify", show_default=True, help="classify, detect, segment or embed.")
@click.option("--head", help="Of segment: lr-aspp or deeplab. [default: the first]")
@click.option(
    "--dimensions", type=click.IntRange(min=1), default=128, show_default=True, help="Length of an embedding."
)
@click.option("--output-stride", type=int, help="Of the backbone under a head: 8, 16 or 32. [default: the head's]")
@click.option(
    "-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The .keras to write."
)
@click.option("--epochs", type=int, help="Epochs of fine-tuning. [default: the task's; to classify 24]")
@click.option(
    "--head-epochs",
    type=int,
    help="Epochs of the new head on the frozen backbone. [default: the task's; to classify 20]",
)
@click.option("--learning-rate", type=float, help="Peak rate of fine-tuning. [default: the task's; to classify 0.0005]")
@click.option("--from-layer", metavar="NAME", help="Fine-tune from this Keras layer on. [default: all layers]")
@click.option("--batch-size", type=int, help="Pictures a step. [default: the task's; to classify 32]")
@click.option(
    "--patience",
    type=int,
    help="Stop after so many epochs without a better score. [default: the task's; to classify 10]",
)
@click.option(
    "--augment",
    type=click.Choice(["default", "light", "none"]),
    default="default",
    show_default=True,
    help="How far training pictures are cropped, turned and tinted.",
)
@click.option("--flip/--no-flip", default=True, help="Mirror pictures left to right (not for letters). [default: flip]")
@click.option("--class-weights", help="balanced: every class counts alike; or none. [default: balanced]")
@click.option("--precision", help="float32, mixed_float16 or mixed_bfloat16. [default: float32]")
@click.option("--seed", type=int, help="Seed of everything random. [default: 0]")
@click.option("--keep-shared", is_flag=True, help="Learn from training pictures that the validation split has too.")
@click.option(
    "--tensorboard", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Write TensorBoard logs."
)
@click.option(
    "--split-seed", type=click.IntRange(min=0), help="Another one draws other validation pictures. [default: 0]"
)
@click.option("--skip-broken", is_flag=True, help="Leave out broken pictures, boxes and masks.")
@click.option(
    "--check-data", is_flag=True, help="Read every picture again; do not trust what the cache remembers of them."
)
@force_option
@json_option
def command(
    data: str,
    variant: str,
    alpha: float,
    resolution: int | None,
    weights: str,
    task_name: str,
    head: str | None,
    output_stride: int | None,
    dimensions: int,
    out: Path,
    augment: Any,  # noqa: ANN401 - one of its choices
    flip: bool,
    keep_shared: bool,
    tensorboard: Path | None,
    split_seed: int | None,
    skip_broken: bool,
    check_data: bool,
    force: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Teach a pretrained MobileNet the classes of a folder of pictures; write a .keras for `build --weights`.

    A new head learns on the frozen backbone, then both learn together at a low rate. Every epoch is kept: after
    Ctrl-C, a kill or a power cut, the same command goes on after the last whole epoch.

    \b
    mnedge train --data photos/ --variant v2 --alpha 0.35 --resolution 96 --out my.keras
    mnedge build --variant v2 --alpha 0.35 --resolution 96 --weights my.keras --data photos/ --int8
    mnedge train --task detect --data cells/labels.csv --variant v2 --alpha 0.35 --out cells.keras
    """
    from mnedge import tasks
    from mnedge.artifact import check_file
    from mnedge.errors import InputError
    from mnedge.models import Variant
    from mnedge.training.settings import Augmentation, Schedule
    from mnedge.workflows.train import REPORTS, publish, train

    task = tasks.get(task_name)
    if head is not None and head not in task.heads:
        raise InputError.unknown(f"head for --task {task_name}", head, task.heads)
    if out.suffix != ".keras":
        raise InputError(f"--out {out} does not end in .keras, which is what is written; give e.g. {out.stem}.keras")
    for path in (out, *map(out.with_suffix, REPORTS)):
        check_file(path, force=force)
    given = {name: value for name, value in settings.items() if value is not None}
    schedule = Schedule(**{**task.schedule, **given}, augmentation=Augmentation.of(augment, flip=flip))
    source: Any = weights if weights in ("imagenet", "random") else Path(weights)
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"no weights file {weights}; --weights takes imagenet, random or a file that exists")
    # Wrong sizes are refused before the pictures are looked at.
    standing = (head or task.heads[0], output_stride)
    Variant(variant, alpha, resolution or 224, 1000, *standing)
    dataset = task.open_dataset(data, skip_broken=skip_broken, split_seed=split_seed or 0)
    if check_data:
        dataset = dataset.read_again()
    if split_seed is not None and dataset.split_seed is None:
        raise InputError(f"{data} comes with its own splits, so --split-seed changes nothing; leave it out")
    wanted = Variant(
        variant, alpha, resolution or dataset.default_resolution, task.classes(dataset) or dimensions, *standing
    )
    lines = _Lines(schedule, tensorboard)
    try:
        with progress() as told:
            trained = train(
                wanted, dataset, schedule, weights=source, progress=told, on_epoch=lines, keep_shared=keep_shared
            )
    except KeyboardInterrupt:
        click.echo("every whole epoch is kept; run the same command again to go on from there", err=True)
        raise
    report = publish(trained, dataset, out, force=force)
    if as_json:
        print_json(report)
    else:
        _print(report, out)


class _Lines:
    """Each epoch as a line on standard error, and in TensorBoard's logs where they are wanted."""

    def __init__(self, schedule: Schedule, folder: Path | None) -> None:
        self.horizons = {"head": schedule.head_epochs, "fine-tune": schedule.epochs}
        self.folder = folder
        self.log: Callable[[Epoch], None] | None = None

    def __call__(self, epoch: Epoch) -> None:
        from mnedge.training.tensorboard import tensorboard_log

        scores = ", ".join(f"validation {name} {value:.3f}" for name, value in epoch.scores.items())
        click.echo(
            f"{epoch.phase} {epoch.number}/{self.horizons[epoch.phase]}: loss {epoch.loss:.3f}, {scores}, "
            f"{epoch.seconds:.1f} s",
            err=True,
        )
        if self.folder is not None:
            self.log = self.log or tensorboard_log(self.folder)
            self.log(epoch)


def _print(report: dict[str, Any], out: Path) -> None:
    from mnedge.report.summary import METRICS
    from mnedge.report.training_page import CLASS_FIGURES

    findings = report["findings"]
    for shared in findings["shared"]:
        contradiction = "" if len(set(shared["labels"])) == 1 else f", filed under {' and '.join(shared['labels'])}"
        click.echo(f"in train and validation both: {shared['train']} and {shared['held']}{contradiction}", err=True)
    for kind in ("broken", "blank"):
        for source in findings[kind]:
            click.echo(f"{kind}: {source}", err=True)
    for tiny in findings["tiny"]:
        click.echo(f"tiny: {tiny['source']}, {tiny['width']} x {tiny['height']} pixels", err=True)
    for suspect in (report["suspects"] or ())[:_SUSPECTS]:
        words = f"filed under {suspect['label']}, looks like {suspect['looks_like']}"
        click.echo(f"mislabelled? {suspect['source']}: {words}", err=True)
    shown = CLASS_FIGURES[report["task"]]
    print_table(
        str(out),
        ("class", ">pictures", *(f">{name} %" for _, name in shown)),
        ((row["class"], row["images"], *(_percent(row[figure]) for figure, _ in shown)) for row in report["classes"]),
    )
    images, metric = report["images"], report["metric"]
    click.echo(
        f"{METRICS[metric]} {_percent(report[metric])} % on {images['eval']:,} validation pictures after "
        f"{images['train']:,} for training; {_chosen(report['best'])}; {report['seconds']:.0f} s"
    )
    click.echo(f"open {out.with_suffix('.report.html')} to see curves, mix-ups and the worst pictures")


def _chosen(best: dict[str, Any]) -> str:
    if best["number"] == 0:
        return f"no epoch of {best['phase']} was better than what it began with"
    return f"the best epoch is {best['phase']} {best['number']}"


def _percent(fraction: float | None) -> str | None:
    return None if fraction is None else f"{100 * fraction:.1f}"
