"""`mnedge validate`: accuracy of artifacts, and their agreement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge.choices import DEFAULT_TASK, Task
from mnedge.cli import _options as options
from mnedge.cli._options import Devices, HeadName, Json, Positive, SkipBroken, TaskName
from mnedge.cli._output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.results.accuracy import AccuracyRow
    from mnedge.results.validation import Validation

PANEL = "Measure"


def command(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT", help=".tflite, .onnx and .ort files, or Keras models.")
    ],
    *,
    task: TaskName[Task] = DEFAULT_TASK,
    data: Annotated[
        str, options.data("Pictures: demo, a folder or a labels.csv; or inputs: a .npy, .npz, or raw .bin.")
    ] = "demo",
    pixels: Annotated[str | None, options.pixels(default="the files'")] = None,
    split: Annotated[
        str | None,
        options.split(default="its test or val; of data without splits, the pictures that training kept apart, or all"),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Use at most so many pictures. [default: all]")
    ] = None,
    class_map: Annotated[
        str | None, typer.Option(metavar="M=D,...", help="Class of the data that each of the model's is.")
    ] = None,
    positive: Positive = None,
    head: HeadName = None,
    anchors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Anchors of a foreign detector with raw boxes, JSON."),
    ] = None,
    devices: Devices = None,
    runtime: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Runtime on the devices: litert, tflite-runtime or onnxruntime. [default: that of the file's suffix]",
            show_default=False,
        ),
    ] = "",
    skip_broken: SkipBroken[bool] = False,
    as_json: Json = False,
) -> None:
    """Measure the accuracy of artifacts, and how far they agree.

    \b
    mnedge validate model.int8.tflite model.fp32.tflite --data photos/labels.csv
    mnedge validate segmenter.int8.tflite --task segment --data pets/
    mnedge validate theirs.tflite --task segment --data pets/ --class-map 8=cat,12=dog,rest=background
    mnedge validate raw.tflite --task detect --data cells/ --class-map offset=-1 --anchors anchors.json
    mnedge validate model.int8.tflite --data photos --device ssh://pi@raspberrypi.local
    """
    from mnedge import tasks
    from mnedge.errors import ToolError
    from mnedge.workflows.validate import validate

    with progress() as told:
        result = validate(
            artifacts,
            data,
            task=task,
            split=split,
            images=images,
            class_map=class_map,
            positive=positive,
            head=head,
            pixels=pixels,
            anchors=anchors,
            devices=devices or ("local",),
            runtime=runtime,
            skip_broken=skip_broken,
            progress=told,
        )
    if as_json:
        print_json(result)
    else:
        _print(result, tasks.get(task).metric)
    if result.failed:
        raise ToolError("\n".join(failure.error for failure in result.failed))


def _print(result: Validation, metric: str) -> None:
    """Accuracy with one column a device, then what agrees with what."""
    if result.outputs:
        _print_outputs(result)
    rows = [row for row in result.accuracy if row.metric(metric) is not None or not result.outputs]
    if rows:
        _print_accuracy(result, rows, metric)
    # Of arrays the table of outputs says how artifacts agree; what devices say of one stands in no other table.
    if result.parity and (rows or len({row.artifact for row in result.outputs}) == 1):
        _print_parity(result)


def _print_accuracy(result: Validation, rows: Sequence[AccuracyRow], metric: str) -> None:
    from mnedge.report.summary import METRICS

    devices = list(dict.fromkeys([*(row.device for row in rows), *(failure.device for failure in result.failed)]))
    found = {(row.artifact, row.device): row for row in rows}
    columns = (
        "artifact",
        *(f">{METRICS[metric]} % on {device}" for device in devices),
        *(f"runtime on {device}" for device in devices),
    )
    cells = []
    for artifact in dict.fromkeys(row.artifact for row in rows):
        across = [found.get((artifact, device)) for device in devices]
        runtimes = ("failed" if row is None else row.runtime for row in across)
        cells.append((artifact, *(_share(row, metric) for row in across), *runtimes))
    which, comma, why = (result.pictures or f"{rows[0].images} pictures").partition(", ")
    print_table(f"Accuracy on {which} of {rows[0].dataset}{comma}{why}", columns, cells)
    for line in result.warnings:
        say(line, err=True)


def _print_parity(result: Validation) -> None:
    print_table(
        "Parity, picture by picture" if result.accuracy else "Parity, sample by sample",
        ("artifact", "agrees with", ">same answers %", ">SNR, dB", ">largest error, LSB", ">largest error"),
        (
            (
                row.artifact,
                row.reference,
                None if row.top1_agreement is None else f"{100 * row.top1_agreement:.2f}",
                None if row.snr_db is None else f"{row.snr_db:.1f}",
                None if row.max_abs_lsb is None else f"{row.max_abs_lsb:.3g}",
                None if row.max_abs_error is None else f"{row.max_abs_error:.2g}",
            )
            for row in result.parity
        ),
    )


def _print_outputs(result: Validation) -> None:
    from mnedge.report.tables import outputs

    table = outputs(result.outputs)
    print_table(table.title, table.columns, [tuple(cell.text for cell in row) for row in table.rows])
    for note in table.notes:
        say(note)


def _share(row: AccuracyRow | None, metric: str) -> str:
    value = row.metric(metric) if row else None
    if row is None or value is None:
        return "failed"
    bounds = row.interval(metric)
    shown = "" if bounds is None else f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"
    return f"{100 * value:.2f}{shown}"
