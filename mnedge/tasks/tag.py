"""Multi-label classification: the labels of each picture, several, one or none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import formats
from mnedge.data.tags import check_learnable, check_tags, open_tags, tags_of
from mnedge.errors import InputError
from mnedge.graph.heads import THRESHOLD
from mnedge.report.overlay import side_by_side, with_words
from mnedge.results.metric import Metric
from mnedge.results.outcome import ClassRow, MetPicture, Outcome
from mnedge.tasks._task import Task
from mnedge.validation.answers import class_answers
from mnedge.validation.tag import LabelFigures, label_figures, multi_label_figures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.data.draw import Draw
    from mnedge.results.accuracy import Figures
    from mnedge.results.prediction import Answer
    from mnedge.tasks._task import Arrays, TrainingData
    from mnedge.training.phases import Objective
    from mnedge.untyped import AnyArray
    from mnedge.validation.answers import Seen
    from mnedge.validation.predict import Predictions

_SHOWN_SIDE = 160
_WORST, _GALLERY = 24, 9


def _open(spec: str, *, skip_broken: bool = False, draw: Draw | None = None) -> Dataset:
    if spec == "demo":
        raise InputError(
            f"the demo pictures have one class each; give --data pictures with labels; {formats.layouts('labels')}"
        )
    return open_tags(Path(spec), skip_broken=skip_broken, draw=draw)


def _objective(data: TrainingData) -> Objective:
    from mnedge.training.tag import Tagged, tag

    dataset, rows = data.dataset, data.rows
    numbers, held = data.train.numbers[rows], data.held.numbers
    # Broken pictures, and those of the validation split, are left out now.
    check_learnable(dataset, numbers)

    def precision(probabilities: NDArray[np.float32], tags: NDArray[np.bool_]) -> float:
        return label_figures(probabilities, tags).map

    return tag(
        Tagged(data.train.pixels, rows, tags_of(dataset, numbers)),
        Tagged(data.held.pixels, np.arange(held.size), tags_of(dataset, held)),
        data.schedule,
        data.new_layers,
        precision,
    )


def _outcome(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset) -> Outcome:
    probabilities, tags = arrays["probabilities"], tags_of(dataset, numbers)
    found = label_figures(probabilities, tags)
    return Outcome(
        figures={"map": found.map, "macro_f1": found.macro_f1},
        classes=tuple(
            ClassRow(name, int(tags[:, place].sum()), _of_label(found, place))
            for place, name in enumerate(dataset.classes)
        ),
        worst=tuple(
            MetPicture(dataset.sources[numbers[place]], words=_faults(probabilities[place], tags[place], dataset))
            for place in _worst(probabilities, tags)
        ),
    )


def _of_label(found: LabelFigures, place: int) -> dict[str, float | None]:
    return {"ap": found.precision[place], "recall": found.recall[place], "precision": found.purity[place]}


def _worst(probabilities: NDArray[np.float32], tags: NDArray[np.bool_]) -> list[int]:
    """Places of the pictures with a wrong answer, those that were surest of it first."""
    wrong = (probabilities >= THRESHOLD) != tags
    surest = np.where(wrong, np.abs(probabilities - tags), 0.0).max(axis=1)
    places = np.flatnonzero(wrong.any(axis=1))
    order = places[np.argsort(-surest[places], kind="stable")][:_WORST]
    return [int(place) for place in order]


def _faults(said: NDArray[np.float32], tags: NDArray[np.bool_], dataset: Dataset) -> str:
    """Words on a picture's wrong answers: the labels that it lacks, and those that it has not."""

    def named(mask: NDArray[np.bool_]) -> str:
        return ", ".join(f"{dataset.classes[place]} ({100 * said[place]:.0f} %)" for place in np.flatnonzero(mask))

    yes = said >= THRESHOLD
    parts = [("misses", named(tags & ~yes)), ("says wrongly", named(yes & ~tags))]
    return "; ".join(f"{what} {names}" for what, names in parts if names)


def _names(mask: NDArray[np.bool_], dataset: Dataset) -> list[str]:
    return [dataset.classes[place] for place in np.flatnonzero(mask)] or ["none"]


def _show(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset, number: int) -> NDArray[np.uint8]:
    """The picture with its labels and, of validation pictures, with those that were found."""
    pixels = dataset.read(number, _SHOWN_SIDE)
    shown = [tags_of(dataset, np.array([number]))[0]]
    if number in numbers:
        shown.append(arrays["probabilities"][int(np.flatnonzero(numbers == number)[0])] >= THRESHOLD)
    return side_by_side([with_words(pixels, _names(mask, dataset)) for mask in shown])


def _show_target(pixels: NDArray[np.uint8], target: AnyArray, data: TrainingData) -> NDArray[np.uint8]:
    return with_words(pixels, _names(target > THRESHOLD, data.dataset))


def _accuracy(predictions: Predictions, dataset: Dataset) -> Figures:
    return multi_label_figures(predictions, tags_of(dataset, predictions.numbers), dataset)


def _gallery(predictions: Predictions, dataset: Dataset) -> list[tuple[str, str, NDArray[np.uint8]]]:
    tags, said = tags_of(dataset, predictions.numbers), predictions.outputs
    shown = []
    for place in _worst(said, tags)[:_GALLERY]:
        number = int(predictions.numbers[place])
        pixels = dataset.read(number, _SHOWN_SIDE)
        picture = side_by_side(
            [with_words(pixels, _names(mask, dataset)) for mask in (tags[place], said[place] >= THRESHOLD)]
        )
        shown.append((dataset.sources[number], _faults(said[place], tags[place], dataset), picture))
    return shown


def _draw(pixels: NDArray[np.uint8], answer: Answer, _said: Predictions, _place: int, _seen: Seen) -> NDArray[np.uint8]:
    return with_words(pixels, [row.said for row in answer.classes or ()])


TASK = Task(
    name="tag",
    title="multi-label image classification",
    metrics=(
        Metric("map", "mAP", is_headline=True),
        Metric("macro_f1", "macro F1"),
        Metric("ap", "AP", by_class=True),
        Metric("recall", "recall", by_class=True),
        Metric("precision", "precision", by_class=True),
    ),
    heads=("multi-label",),
    open_dataset=_open,
    classes=lambda dataset: len(dataset.classes),
    check=check_tags,
    objective=_objective,
    outcome=_outcome,
    show=_show,
    answers=class_answers,
    show_target=_show_target,
    draw=_draw,
    accuracy=_accuracy,
    mistakes=lambda _predictions, _dataset: [],
    gallery=_gallery,
)
