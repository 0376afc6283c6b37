"""Detection: the objects in each picture, and where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.data.anchors import fitted_shapes, paper_shapes
from mnedge.data.boxes import LAYOUT, open_boxes
from mnedge.data.check import check_marked
from mnedge.data.detections import METADATA, Decoding, Detections, metadata_of
from mnedge.errors import InputError
from mnedge.models.heads.ssdlite import map_sides
from mnedge.report.overlay import side_by_side, with_frames
from mnedge.tasks._task import Task
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

    from mnedge.data._dataset import Dataset
    from mnedge.data.boxes import Boxes
    from mnedge.models import Variant
    from mnedge.results.accuracy import MixUp
    from mnedge.tasks._task import Gathered, Material
    from mnedge.training.phases import Lesson
    from mnedge.validation.predict import Predictions

_SHOWN_SIDE = 240
_MOST_WORST = 24
_GALLERY = 9
# The key of a .keras under which the anchors travel with the weights.
_KEY = "detection"


def _open(spec: str, *, skip_broken: bool = False, split_seed: int = 0) -> Dataset:
    if spec == "demo":
        raise InputError(f"the demo pictures have no boxes; give --data {LAYOUT}")
    return open_boxes(Path(spec), skip_broken=skip_broken, split_seed=split_seed)


def _truths(dataset: Dataset, numbers: NDArray[np.int64]) -> list[Boxes]:
    assert dataset.truths is not None, dataset.name
    return [dataset.truths(number, 0) for number in numbers.tolist()]


def _check(dataset: Dataset) -> None:
    check_marked(dataset)
    marked = np.concatenate([boxes.classes[~boxes.crowd] for boxes in _truths(dataset, dataset.split("train"))])
    shown = np.bincount(marked, minlength=len(dataset.classes))
    if lacking := [name for name, count in zip(dataset.classes, shown, strict=True) if count == 0]:
        raise InputError(
            f"no picture of the train split of {dataset.name} has a box of {', '.join(lacking)}; add pictures that "
            "have, or take the class out of the list of classes"
        )


def _lesson(material: Material) -> Lesson:
    from mnedge.training.detect import DetectScores, Pictured
    from mnedge.training.detect import detect as lesson

    dataset, classes = material.dataset, material.dataset.classes

    def pictured(pictures: Gathered, rows: NDArray[np.int64]) -> Pictured:
        return Pictured(pictures.pixels, _truths(dataset, pictures.numbers), rows)

    def precision_of(found: Sequence[Detections], truths: Sequence[Boxes]) -> float:
        return float(average_precisions(found, truths, classes).map50)

    return lesson(
        pictured(material.train, material.rows),
        pictured(material.held, np.arange(material.held.numbers.size)),
        len(classes),
        _fitted(dataset, material.variant),
        material.schedule,
        material.new_layers,
        DetectScores(precision_of, best_score),
    )


def _fitted(dataset: Dataset, variant: Variant) -> Decoding:
    """Anchors that suit the training boxes, on the maps of a network."""
    corners = np.concatenate([boxes.corners[~boxes.crowd] for boxes in _truths(dataset, dataset.split("train"))])
    return Decoding(map_sides(variant), fitted_shapes(corners[:, 2:] - corners[:, :2]))


def _metadata(variant: Variant, told: Mapping[str, Any]) -> dict[str, bytes]:
    sides = map_sides(variant)
    shapes = Decoding.of_json(told[_KEY]).shapes if _KEY in told else paper_shapes()
    return {METADATA: metadata_of(Decoding(sides, shapes))}


def _found(arrays: Mapping[str, NDArray[Any]]) -> list[Detections]:
    """What was found in each validation picture, out of the arrays that `Lesson.judge` gave."""
    parts = (np.split(arrays[name], arrays["ends"][:-1]) for name in ("corners", "classes", "scores"))
    return [Detections(*part) for part in zip(*parts, strict=True)]


def _labelled(row: MixUp) -> dict[str, object]:
    told = {"predicted": row.predicted, "images": row.images, "objects": row.objects, "fraction": row.fraction}
    return {**told, "label": row.truth}


def _outcome(arrays: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64], dataset: Dataset) -> dict[str, Any]:
    found, truths = _found(arrays), _truths(dataset, numbers)
    score = float(arrays["best_score"])
    figures = average_precisions(found, truths, dataset.classes)
    return {
        "map50": figures.map50,
        "map": figures.map,
        "best_score": score,
        "classes": [
            {
                "class": row.name,
                "boxes": row.boxes,
                "ap50": row.ap50,
                "ap": row.ap,
                "images": sum(bool((boxes.classes == index).any()) for boxes in truths),
            }
            for index, row in enumerate(figures.classes)
        ],
        "mixups": [_labelled(row) for row in mixups(found, truths, dataset.classes, score)],
        "worst": [
            {
                "source": dataset.sources[numbers[place]],
                **counts,
                "words": _counted_words(counts),
            }
            for place, counts in worst(found, truths, score, _MOST_WORST)
        ],
    }


def _show(
    judged: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64], dataset: Dataset, number: int
) -> NDArray[np.uint8]:
    """The picture with its boxes and, of the validation split, with what was found, above the best score."""
    pixels = dataset.read(number, _SHOWN_SIDE)
    truth = _truths(dataset, np.array([number]))[0]
    shown = [with_frames(pixels, truth.corners, truth.classes)]
    for place in np.flatnonzero(numbers == number):
        objects = _found(judged)[place]
        sure = objects.scores >= judged["best_score"]
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


TASK = Task(
    name="detect",
    metric="map50",
    heads=("ssdlite",),
    open_dataset=_open,
    classes=lambda dataset: len(dataset.classes),
    check=_check,
    lesson=_lesson,
    outcome=_outcome,
    show=_show,
    accuracy=detect_figures,
    counted="boxes",
    gallery=_gallery,
    mistakes=_mistakes,
    schedule={
        "head_epochs": 3,
        "epochs": 90,
        "learning_rate": 3e-3,
        "weight_decay": 0.01,
        "batch_size": 16,
        "patience": 40,
    },
    describe=lambda dataset, variant: {_KEY: _fitted(dataset, variant).as_json()},
    metadata=_metadata,
    agreement=same_objects,
    post_passes=dict.fromkeys(("tflite", "onnx"), ("detection-postprocess",)),
)
