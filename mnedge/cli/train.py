"""`mnedge train`: transfer learning on own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.choices import DEFAULT_TASK, ClassWeights, Strength, TrainingPrecision
from mnedge.cli import _options as options
from mnedge.cli._options import Alpha, CheckData, Force, Json, OutputStride, Positive, Seed, SkipBroken, TaskName
from mnedge.cli._output import print_json, print_table, progress, say
from mnedge.models import families

if TYPE_CHECKING:
    from mnedge.results.training import Epoch, TrainingReport

PANEL = "Build"

_SUSPECTS = 10


def command(
    *,
    data: Annotated[
        str, options.data("Pictures: a folder with one folder per class, a labels.csv, demo, or the task's own.")
    ],
    out: Annotated[Path, options.out_file("Write this .keras.")],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL", dir_okay=False, help="Fine-tune your own classifier: a .keras or .h5 with a whole model."
        ),
    ] = None,
    pixels: Annotated[str | None, options.pixels("With --model: ")] = None,
    size: Annotated[str | None, options.size("With --model: ")] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="MODEL's class names, one a line.")
    ] = None,
    positive: Positive = None,
    variant: Annotated[
        str | None,
        typer.Option(metavar="FAMILY", help=f"Network to train: {', '.join(families.names())}. [default: v3-small]"),
    ] = None,
    alpha: Alpha[float | None] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, metavar="R", help="Side of the input, pixels. [default: 224, or 96 for demo]")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="W",
            help="Start the backbone from these: imagenet, random, timm:NAME, or a .h5, .weights.h5, .keras or "
            ".safetensors file. [default: imagenet]",
        ),
    ] = None,
    task: TaskName[str] = DEFAULT_TASK,
    head: Annotated[
        str | None, typer.Option(metavar="HEAD", help="Head of segment: lr-aspp or deeplab. [default: the first]")
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Length of an embedding. [default: 128]")
    ] = None,
    output_stride: OutputStride = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Epochs of fine-tuning. [default: the task's; to classify 24]")
    ] = None,
    head_epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Epochs of the new head on the frozen backbone. [default: the task's; to classify 20]"
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Peak rate of fine-tuning. [default: the task's; to classify 0.0005]"),
    ] = None,
    from_layer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Fine-tune from this Keras layer on. [default: all layers]")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Pictures a step. [default: the task's; to classify 32]")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Stop after so many epochs without a better score. [default: the task's; to classify 10]",
        ),
    ] = None,
    augment: Annotated[Strength, typer.Option(help="Crop, turn and tint training pictures this far.")] = "default",
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Mirror training pictures left to right; not for letters.")
    ] = True,
    class_weights: Annotated[
        ClassWeights | None, typer.Option(help="Let every class count alike, or every picture. [default: balanced]")
    ] = None,
    precision: Annotated[
        TrainingPrecision | None, typer.Option(help="dtype policy; the mixed ones are for GPUs. [default: float32]")
    ] = None,
    seed: Seed[int | None] = None,
    keep_shared: Annotated[
        bool,
        typer.Option("--keep-shared", help="Learn from training pictures that the val or test split has too."),
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(file_okay=False, metavar="DIR", help="Write TensorBoard logs into this folder.")
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Draw the validation pictures by this seed. [default: 0]")
    ] = None,
    val_fraction: Annotated[
        float | None, typer.Option(metavar="F", help="Share of pictures drawn for validation. [default: 0.2]")
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(metavar="F", help="Share of pictures drawn for the test, which is only reported. [default: 0]"),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="BY",
            help="Keep pictures of one clip on one side of a drawn split: folder, prefix of the name, or a regular "
            "expression.",
        ),
    ] = None,
    skip_broken: SkipBroken[bool] = False,
    check_data: CheckData = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a MobileNet, or your own model, and write a .keras.

    A new head learns on the frozen backbone, then both learn together at a low rate. `build --weights` takes the
    .keras, and `build MODEL` that of --model, whose head is replaced where the data has other classes. Every epoch is
    kept: after Ctrl-C, a kill or a power cut, the same command goes on after the last whole epoch.

    \b
    mnedge train --data photos/ --variant v2 --alpha 0.35 --resolution 96 --out my.keras
    mnedge build --variant v2 --alpha 0.35 --resolution 96 --weights my.keras --data photos/ --int8
    mnedge train --model my.keras --data photos/ --out mine.keras
    mnedge train --task detect --data cells/labels.csv --variant v2 --alpha 0.35 --out cells.keras
    """
    from mnedge.recipe import parse_size
    from mnedge.results import stored
    from mnedge.workflows.train import train

    try:
        with progress() as notify:
            report = train(
                data,
                out,
                model=model,
                pixels=pixels,
                size=parse_size(size),
                labels=labels,
                positive=positive,
                variant=variant,
                alpha=alpha,
                resolution=resolution,
                weights=weights,
                task=task,
                head=head,
                dimensions=dimensions,
                output_stride=output_stride,
                epochs=epochs,
                head_epochs=head_epochs,
                learning_rate=learning_rate,
                from_layer=from_layer,
                batch_size=batch_size,
                patience=patience,
                augment=augment,
                flip=flip,
                class_weights=class_weights,
                precision=precision,
                seed=seed,
                keep_shared=keep_shared,
                tensorboard=tensorboard,
                split_seed=split_seed,
                val_fraction=val_fraction,
                test_fraction=test_fraction,
                group_by=group_by,
                skip_broken=skip_broken,
                check_data=check_data,
                force=force,
                progress=notify,
                on_epoch=_print_epoch,
                notice=lambda words: say(words, err=True),
            )
    except KeyboardInterrupt:
        say("every whole epoch is kept; run the same command again to go on from there", err=True)
        raise
    if as_json:
        print_json(stored.as_json(report))
    else:
        _print(report, out)


def _print_epoch(epoch: Epoch) -> None:
    """Prints an epoch as a line on standard error."""
    scores = ", ".join(f"validation {name} {_number(value)}" for name, value in epoch.scores.items())
    rate = "" if epoch.images_per_second is None else f", {epoch.images_per_second:,.0f} pictures a second"
    busy = "" if epoch.cores is None else f" on {epoch.cores:.1f} cores"
    say(
        f"{epoch.phase} {epoch.number}/{epoch.epochs}: loss {_number(epoch.loss)}, {scores}, {epoch.seconds:.1f} s"
        f"{rate}{busy}",
        err=True,
    )


def _print(report: TrainingReport, out: Path) -> None:
    from mnedge import tasks

    account, outcome, task = report.account, report.outcome, tasks.get(report.task)
    for shared in account.findings.shared:
        contradiction = "" if len(set(shared.labels)) == 1 else f", filed under {' and '.join(shared.labels)}"
        say(f"in {' and '.join(shared.splits)} both: {shared.train} and {shared.held}{contradiction}", err=True)
    for kind, sources in (("broken", account.findings.broken), ("blank", account.findings.blank)):
        for source in sources:
            say(f"{kind}: {source}", err=True)
    for tiny in account.findings.tiny:
        say(f"tiny: {tiny.source}, {tiny.width} x {tiny.height} pixels", err=True)
    for suspect in (account.suspects or ())[:_SUSPECTS]:
        words = f"filed under {suspect.label}, looks like {suspect.looks_like}"
        say(f"mislabelled? {suspect.source}: {words}", err=True)
    print_table(
        str(out),
        ("class", ">pictures", *(f">{metric.name} %" for metric in task.class_metrics)),
        (
            (row.name, row.images, *(_percent(row.figures.get(metric.key)) for metric in task.class_metrics))
            for row in outcome.classes
        ),
    )
    say(
        f"{task.metrics[0].name} {_percent(report.score)} % on {account.images.eval:,} validation pictures after "
        f"{account.images.train:,} for training; {_chosen(account.best)}; {account.seconds:.0f} s"
    )
    for line in report.notes():
        say(line)
    say(f"open {out.with_suffix('.report.html')} to see curves, mix-ups and the worst pictures")


def _chosen(best: Epoch) -> str:
    if best.number == 0:
        return f"no epoch of {best.phase} was better than what it began with"
    return f"the best epoch is {best.phase} {best.number}"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f}"


def _percent(fraction: float | None) -> str | None:
    return None if fraction is None else f"{100 * fraction:.1f}"
