"""Classification: the class of each picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import open_dataset
from mnedge.data.balance import balanced_accuracy, macro_f1
from mnedge.data.check import check_layout
from mnedge.errors import InputError
from mnedge.models.variant import CLASSIFIER
from mnedge.report.overlay import with_words
from mnedge.report.training_page import classes_table, mixups, worst
from mnedge.results.findings import Suspect
from mnedge.results.metric import Metric
from mnedge.results.outcome import Confusion, Outcome
from mnedge.tasks._task import Task
from mnedge.validation.accuracy import accuracy_figures, confusion
from mnedge.validation.answers import class_answers
from mnedge.validation.heads import head_figures
from mnedge.validation.two_classes import positive_scores, two_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.results.accuracy import Figures, MixUp
    from mnedge.results.prediction import Answer
    from mnedge.results.report import Report
    from mnedge.tasks._task import Arrays, TrainingData
    from mnedge.training.phases import Objective
    from mnedge.untyped import AnyArray
    from mnedge.validation.answers import Seen
    from mnedge.validation.predict import Predictions

_SUSPECTS = 40
_SHOWN_SIDE = 120
_TWO = 2


def _objective(data: TrainingData) -> Objective:
    from mnedge.training.classify import Labelled, classify

    dataset, rows = data.dataset, data.rows
    numbers, held = data.train.numbers, data.held.numbers

    def notice(*features: NDArray[np.float32]) -> None:
        found = _suspects(dataset, np.concatenate(features), np.concatenate([numbers[rows], held]))
        data.keep_suspects(found)

    return classify(
        Labelled(data.train.pixels, rows, dataset.labels[numbers[rows]]),
        Labelled(data.held.pixels, np.arange(held.size), dataset.labels[held]),
        len(dataset.classes),
        data.schedule,
        notice,
        data.new_layers,
    )


def _suspects(dataset: Dataset, features: NDArray[np.float32], numbers: NDArray[np.int64]) -> list[Suspect]:
    from mnedge.training.suspects import suspects

    classes = dataset.classes
    found = suspects(features, dataset.labels[numbers], len(classes))[:_SUSPECTS]
    return [
        Suspect(dataset.sources[number], classes[dataset.labels[number]], classes[looks_like], round(margin, 3))
        for place, looks_like, margin in found
        for number in [numbers[place]]
    ]


def _outcome(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset) -> Outcome:
    from mnedge.training.classify import confusion as counted
    from mnedge.training.classify import scores

    probabilities, labels, classes = arrays["probabilities"], dataset.labels[numbers], dataset.classes
    table = counted(probabilities, labels)
    return Outcome(
        figures={
            "top1": scores(probabilities, labels)["top1"],
            "balanced_accuracy": balanced_accuracy(table),
            "macro_f1": macro_f1(table),
        },
        classes=classes_table(table, classes),
        confusion=Confusion(tuple(classes), tuple(map(tuple, table.tolist()))),
        mixups=mixups(table, classes),
        worst=worst(probabilities, labels, [dataset.sources[number] for number in numbers], classes),
        two_classes=two_classes(probabilities[:, 1], labels == 1, classes[1]) if len(classes) == _TWO else None,
    )


def _accuracy(predictions: Predictions, dataset: Dataset) -> Figures:
    if predictions.head == "sigmoid":
        return _with_curves(head_figures("sigmoid", predictions.outputs, predictions.labels), predictions, dataset)
    if predictions.head in ("multi-label", "numbers"):
        raise InputError(
            f"{predictions.path} gives {predictions.head}, and {dataset.name} has one class a picture; give data whose "
            "labels are those values: --task tag takes a _classes.csv with several labels a picture"
        )
    outputs, highest = predictions.outputs.shape[-1], int(predictions.labels.max())
    if outputs <= highest:
        raise InputError(
            f"{predictions.path} has {outputs} outputs, but {dataset.name} has class_index {highest}; give the data "
            "that the model was made for"
        )
    return _with_curves(accuracy_figures(predictions, dataset.classes), predictions, dataset)


def _with_curves(figures: Figures, predictions: Predictions, dataset: Dataset) -> Figures:
    """Adds the curves of two classes."""
    scores = positive_scores(predictions.outputs, predictions.head)
    if scores is None or len(dataset.classes) != _TWO:
        return figures
    return replace(figures, two_classes=two_classes(scores, predictions.labels == 1, dataset.classes[1]))


def _mistakes(predictions: Predictions, dataset: Dataset) -> list[MixUp]:
    return [] if predictions.head == "sigmoid" else confusion(predictions, dataset.classes)


def _draw(pixels: NDArray[np.uint8], answer: Answer, _said: Predictions, _place: int, _seen: Seen) -> NDArray[np.uint8]:
    return with_words(pixels, [row.said for row in answer.classes or ()])


def show_class(pixels: NDArray[np.uint8], target: AnyArray, data: TrainingData) -> NDArray[np.uint8]:
    """Writes the class of a one-hot target into a picture."""
    return with_words(pixels, [data.dataset.classes[int(target.argmax())]])


def _limits(report: Report) -> tuple[str, ...]:
    classes = report.variant.classes
    if classes == 1:
        return ()
    return (f"A picture that shows none of the {classes:,} classes is taken for one of them.",)


TASK = Task(
    name="classify",
    title="image classification",
    metrics=(
        Metric("top1", "top-1", is_headline=True),
        Metric("top5", "top-5"),
        Metric("balanced_accuracy", "balanced accuracy"),
        Metric("macro_f1", "macro F1"),
        Metric("recall", "recall", by_class=True),
        Metric("precision", "precision", by_class=True),
    ),
    heads=(CLASSIFIER,),
    open_dataset=open_dataset,
    classes=lambda dataset: len(dataset.classes),
    check=check_layout,
    objective=_objective,
    outcome=_outcome,
    show=lambda _arrays, _numbers, dataset, number: dataset.read(number, _SHOWN_SIDE),
    show_target=show_class,
    answers=class_answers,
    draw=_draw,
    accuracy=_accuracy,
    mistakes=_mistakes,
    learns_labels=True,
    adds_up=True,
    takes_models=True,
    output_heads=("softmax", "logits", "sigmoid", "multi-label"),
    limits=_limits,
)
