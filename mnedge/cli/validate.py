"""`mnedge validate`: accuracy of artifacts, and their agreement."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnedge.cli._output import json_option, print_json, print_table, progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.validation.predict import Predictions


PANEL = "Measure"


@click.command()
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--task", "task_name", default="classify", show_default=True, help="classify, detect, segment or embed.")
@click.option("--data", default="demo", show_default=True, help="demo, a folder, or a labels.csv.")
@click.option("--split", default="eval", show_default=True, help="Which split of the data.")
@click.option("--images", type=click.IntRange(min=1), help="Use at most so many pictures.")
@click.option("--class-map", metavar="M=D,...", help="Which class of the data each of the model's is.")
@click.option(
    "--anchors",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of a detector with raw boxes that was not built here: its anchors, JSON.",
)
@click.option("--device", "uris", multiple=True, default=("local",), show_default=True, help="Device URI; repeatable.")
@click.option("--skip-broken", is_flag=True, help="Leave out broken pictures, boxes and masks.")
@json_option
def command(
    artifacts: tuple[Path, ...],
    task_name: str,
    data: str,
    split: str,
    images: int | None,
    class_map: str | None,
    anchors: Path | None,
    uris: tuple[str, ...],
    skip_broken: bool,
    as_json: bool,
) -> None:
    """Measure the accuracy of ARTIFACTS on labelled pictures, and how far they agree.

    \b
    mnedge validate model.int8.tflite model.fp32.tflite --data photos/labels.csv
    mnedge validate segmenter.int8.tflite --task segment --data pets/
    mnedge validate theirs.tflite --task segment --data pets/ --class-map 8=cat,12=dog,rest=background
    mnedge validate raw.tflite --task detect --data cells/ --class-map offset=-1 --anchors anchors.json
    mnedge validate model.int8.tflite --data photos --device ssh://pi@raspberrypi.local
    """
    from mnedge import tasks
    from mnedge.errors import InputError, ToolError
    from mnedge.validation.class_map import in_classes_of, parse_class_map
    from mnedge.validation.detect import check_decodable
    from mnedge.validation.raw_boxes import decoded, read_anchors, scores_and_boxes
    from mnedge.workflows.validate import validate

    task = tasks.get(task_name)
    if anchors is not None and not task.finds_boxes:
        raise InputError(f"--anchors is for detectors; leave it out of --task {task.name}")
    listed = read_anchors(anchors) if anchors is not None else None
    dataset = task.open_dataset(data, skip_broken=skip_broken)
    classes = parse_class_map(class_map, dataset.classes) if class_map else None

    def read(said: Predictions) -> Predictions:
        if listed is not None:
            return decoded(in_classes_of(scores_and_boxes(said, listed), dataset, classes), listed)
        if task.finds_boxes:
            # Before its boxes are taken for scores of classes.
            check_decodable(said)
        return in_classes_of(said, dataset, classes)

    def figures(said: Predictions, dataset: Dataset) -> dict[str, Any]:
        return task.accuracy(read(said), dataset)

    def agreement(one: Predictions, two: Predictions) -> NDArray[np.float64]:
        return task.agreement(*((one, two) if listed is None else (read(one), read(two))))

    with progress() as told:
        result = validate(
            artifacts,
            dataset,
            dataset.split(split, images),
            uris,
            told,
            figures=figures,
            agreement=agreement,
        )
    if as_json:
        print_json(result)
    else:
        _print(result, task.metric)
    if result["failed"]:
        raise ToolError("\n".join(row["error"] for row in result["failed"]))


def _print(result: dict[str, Any], metric: str) -> None:
    """Accuracy with one column a device, then what agrees with what."""
    from mnedge.report.summary import METRICS

    rows = result["accuracy"]
    devices = list(dict.fromkeys(row["device"] for row in (*rows, *result["failed"])))
    found = {(row["artifact"], row["device"]): row for row in rows}
    columns = (
        "artifact",
        *(f">{METRICS[metric]} % on {device}" for device in devices),
        *(f"runtime on {device}" for device in devices),
    )
    artifacts = list(dict.fromkeys(row["artifact"] for row in rows))
    cells = [
        (
            artifact,
            *(_share(found.get((artifact, device)), metric) for device in devices),
            *(found.get((artifact, device), {}).get("runtime", "failed") for device in devices),
        )
        for artifact in artifacts
    ]
    print_table(f"Accuracy on {rows[0]['images']} pictures of {rows[0]['dataset']}", columns, cells)
    if not result["parity"]:
        return
    print_table(
        "Parity, picture by picture",
        ("artifact", "agrees with", ">same top-1 %", ">largest error, LSB", ">largest error"),
        (
            (
                row["artifact"],
                row["reference"],
                f"{100 * row['top1_agreement']:.2f}",
                None if row["max_abs_lsb"] is None else f"{row['max_abs_lsb']:.3g}",
                None if row["max_abs_error"] is None else f"{row['max_abs_error']:.2g}",
            )
            for row in result["parity"]
        ),
    )


def _share(row: dict[str, Any] | None, metric: str) -> str:
    if row is None:
        return "failed"
    bounds = row.get(f"{metric}_interval")
    shown = "" if bounds is None else f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})"
    return f"{100 * row[metric]:.2f}{shown}"
