"""Detection: the objects in each picture, and where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import formats
from mnedge.data.anchors import decode, fitted_shapes, paper_shapes
from mnedge.data.boxes import open_boxes
from mnedge.data.check import check_marked
from mnedge.data.detections import METADATA, Decoding, Detections, metadata_of
from mnedge.errors import InputError
from mnedge.models.heads.ssdlite import map_sides
from mnedge.report.overlay import side_by_side, with_frames
from mnedge.results.metric import Metric
from mnedge.results.outcome import ClassRow, MetPicture, Outcome
from mnedge.tasks._task import Task
from mnedge.training.settings import Schedule
from mnedge.validation.answers import object_answers
from mnedge.validation.detect import (
    average_precisions,
    best_score,
    detect_figures,
    found_in,
    mixups,
    same_objects,
    worst,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.data.boxes import Boxes
    from mnedge.data.dataset import Dataset
    from mnedge.data.draw import Draw
    from mnedge.models import Variant
    from mnedge.models.description import Description
    from mnedge.results.accuracy import MixUp
    from mnedge.results.prediction import Answer
    from mnedge.tasks._task import Arrays, DecodedSplit, TrainingData
    from mnedge.training.phases import Objective
    from mnedge.untyped import AnyArray
    from mnedge.validation.answers import Seen
    from mnedge.validation.predict import Predictions

_SHOWN_SIDE = 240
_MOST_WORST = 24
_GALLERY = 9
# The key of a .keras under which the anchors travel with the weights.


def _open(spec: str, *, skip_broken: bool = False, draw: Draw | None = None) -> Dataset:
    if spec == "demo":
        raise InputError(
            f"the demo pictures have no boxes; give --data pictures with boxes; {formats.layouts('boxes')}"
        )
    return open_boxes(Path(spec), skip_broken=skip_broken, draw=draw)


def _truths(dataset: Dataset, numbers: NDArray[np.int64]) -> list[Boxes]:
    assert dataset.truths is not None, dataset.name
    return [dataset.truths(number, 0) for number in numbers.tolist()]


def _check(dataset: Dataset) -> None:
    check_marked(dataset)
    shown, anywhere = (
        np.bincount(
            np.concatenate([boxes.classes[~boxes.crowd] for boxes in _truths(dataset, numbers)]),
            minlength=len(dataset.classes),
        )
        for numbers in (dataset.split("train"), np.arange(len(dataset.sources)))
    )
    # A category that no picture shows keeps its place in the list; one that only validation shows cannot be learned.
    if lacking := [name for name, own, all_ in zip(dataset.classes, shown, anywhere, strict=True) if all_ > own == 0]:
        raise InputError(
            f"no picture of the train split of {dataset.name} has a box of {', '.join(lacking)}; add pictures that "
            "have, or take the class out of the list of classes"
        )


def _objective(data: TrainingData) -> Objective:
    from mnedge.training.detect import DetectScores, Pictured, detect

    dataset, classes = data.dataset, data.dataset.classes

    def pictured(pictures: DecodedSplit, rows: NDArray[np.int64]) -> Pictured:
        return Pictured(pictures.pixels, _truths(dataset, pictures.numbers), rows)

    def precision_of(found: Sequence[Detections], truths: Sequence[Boxes]) -> float:
        return float(average_precisions(found, truths, classes).map50)

    return detect(
        pictured(data.train, data.rows),
        pictured(data.held, np.arange(data.held.numbers.size)),
        len(classes),
        _fitted(dataset, data.network),
        data.schedule,
        data.new_layers,
        DetectScores(precision_of, best_score),
    )


def _fitted(dataset: Dataset, variant: Variant) -> Decoding:
    """Anchors that suit the training boxes, on the maps of a network."""
    corners = np.concatenate([boxes.corners[~boxes.crowd] for boxes in _truths(dataset, dataset.split("train"))])
    return Decoding(map_sides(variant), fitted_shapes(corners[:, 2:] - corners[:, :2]))


def _show_target(pixels: NDArray[np.uint8], target: AnyArray, data: TrainingData) -> NDArray[np.uint8]:
    """Draws the boxes that anchors stand for, as often as there are anchors; what is only ignored is not drawn."""
    classes = data.dataset.classes
    found = np.flatnonzero(target[:, -1] > 0)
    anchors = _fitted(data.dataset, data.network).anchors[found]
    corners = decode(target[found, len(classes) : -1], anchors)
    return with_frames(pixels, np.clip(corners, 0, 1), target[found, : len(classes)].argmax(axis=1))


def _metadata(variant: Variant, described: Description) -> dict[str, bytes]:
    sides = map_sides(variant)
    shapes = Decoding.of_json(described["detection"]).shapes if "detection" in described else paper_shapes()
    return {METADATA: metadata_of(Decoding(sides, shapes))}


def _found(arrays: Arrays) -> list[Detections]:
    """Objects that were found in each validation picture, from the arrays of `Objective.predict_all`."""
    parts = (np.split(arrays[name], arrays["ends"][:-1]) for name in ("corners", "classes", "scores"))
    return [Detections(*part) for part in zip(*parts, strict=True)]


def _outcome(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset) -> Outcome:
    found, truths = _found(arrays), _truths(dataset, numbers)
    score = float(arrays["best_score"])
    figures = average_precisions(found, truths, dataset.classes)
    return Outcome(
        figures={"map50": figures.map50, "map": figures.map, "best_score": score},
        classes=tuple(
            ClassRow(
                row.name,
                sum(bool((boxes.classes == index).any()) for boxes in truths),
                {"ap50": row.ap50, "ap": row.ap},
                boxes=row.boxes,
            )
            for index, row in enumerate(figures.classes)
        ),
        mixups=tuple(mixups(found, truths, dataset.classes, score)),
        worst=tuple(
            MetPicture(dataset.sources[numbers[place]], words=_counted_words(counts), counts=counts)
            for place, counts in worst(found, truths, score, _MOST_WORST)
        ),
    )


def _show(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset, number: int) -> NDArray[np.uint8]:
    """The picture with its boxes and, of the validation split, with what was found, above the best score."""
    pixels = dataset.read(number, _SHOWN_SIDE)
    truth = _truths(dataset, np.array([number]))[0]
    shown = [with_frames(pixels, truth.corners, truth.classes)]
    for place in np.flatnonzero(numbers == number):
        objects = _found(arrays)[place]
        sure = objects.scores >= arrays["best_score"]
        shown.append(with_frames(pixels, objects.corners[sure], objects.classes[sure]))
    return side_by_side(shown)


def _gallery(predictions: Predictions, dataset: Dataset) -> list[tuple[str, str, NDArray[np.uint8]]]:
    """The worst pictures with their boxes, and with what was found above the score at which most is right."""
    found, truths = found_in(predictions), _truths(dataset, predictions.numbers)
    score, shown = best_score(found, truths), []
    for place, counts in worst(found, truths, score, _GALLERY):
        number, objects, truth = int(predictions.numbers[place]), found[place], truths[place]
        pixels, sure = dataset.read(number, _SHOWN_SIDE), objects.scores >= score
        frames = ((truth.corners, truth.classes), (objects.corners[sure], objects.classes[sure]))
        picture = side_by_side([with_frames(pixels, *drawn) for drawn in frames])
        shown.append((dataset.sources[number], _counted_words(counts), picture))
    return shown


def _counted_words(counts: Mapping[str, int]) -> str:
    return f"{counts['right']} right, {counts['missed']} missed, {counts['wrong']} wrong"


def _mistakes(predictions: Predictions, dataset: Dataset) -> list[MixUp]:
    found, truths = found_in(predictions), _truths(dataset, predictions.numbers)
    return mixups(found, truths, dataset.classes, best_score(found, truths))


def _draw(pixels: NDArray[np.uint8], answer: Answer, _said: Predictions, _place: int, seen: Seen) -> NDArray[np.uint8]:
    width, height = seen.size
    objects = answer.objects or ()
    corners = np.array([row.box for row in objects], np.float32).reshape(-1, 4) / [height, width, height, width]
    words = [f"{row.label} {row.score:.2f}" for row in objects]
    return with_frames(pixels, corners.astype(np.float32), np.array([row.index for row in objects], np.int64), words)


TASK = Task(
    name="detect",
    title="object detection",
    metrics=(
        Metric("map50", "mAP at IoU 0.5", is_headline=True),
        Metric("map", "mAP"),
        Metric("ap50", "AP at IoU 0.5", by_class=True),
        Metric("ap", "AP", by_class=True),
    ),
    heads=("ssdlite",),
    open_dataset=_open,
    classes=lambda dataset: len(dataset.classes),
    check=_check,
    objective=_objective,
    outcome=_outcome,
    show=_show,
    show_target=_show_target,
    answers=object_answers,
    draw=_draw,
    accuracy=detect_figures,
    counted="boxes",
    gallery=_gallery,
    mistakes=_mistakes,
    schedule=Schedule(head_epochs=3, epochs=90, learning_rate=3e-3, weight_decay=0.01, batch_size=16, patience=40),
    describe=lambda dataset, variant: {"detection": _fitted(dataset, variant).as_json()},
    metadata=_metadata,
    agreement=same_objects,
    post_passes=dict.fromkeys(("tflite", "onnx"), ("detection-postprocess",)),
    finds_boxes=True,
)
