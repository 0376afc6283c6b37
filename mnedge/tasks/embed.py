"""Embedding: pictures as vectors, those of one class close together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import open_dataset
from mnedge.data.check import check_layout
from mnedge.results.accuracy import MixUp
from mnedge.results.metric import Metric
from mnedge.results.outcome import ClassRow, MetPicture, Outcome
from mnedge.tasks._task import Task
from mnedge.tasks.classify import show_class
from mnedge.training.settings import Schedule
from mnedge.validation.answers import vector_answers
from mnedge.validation.embed import check_pairs, embed_figures, nearest, pair_auc, recalled, same_nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.results.prediction import Answer
    from mnedge.tasks._task import Arrays, TrainingData
    from mnedge.training.phases import Objective
    from mnedge.validation.answers import Seen
    from mnedge.validation.predict import Predictions

_SHOWN_SIDE = 120
_WORST = 24


def _check(dataset: Dataset) -> None:
    check_layout(dataset)
    check_pairs(dataset.labels[dataset.split("eval")], dataset.name)


def _figures(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    return {"roc_auc": pair_auc(embeddings, labels), "recall_at_1": float(recalled(embeddings, labels).mean())}


def _objective(data: TrainingData) -> Objective:
    from mnedge.training.classify import Labelled
    from mnedge.training.embed import embed

    dataset, rows = data.dataset, data.rows
    numbers, held = data.train.numbers, data.held.numbers
    return embed(
        Labelled(data.train.pixels, rows, dataset.labels[numbers[rows]]),
        Labelled(data.held.pixels, np.arange(held.size), dataset.labels[held]),
        len(dataset.classes),
        data.schedule,
        data.new_layers,
        _figures,
    )


def _outcome(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset) -> Outcome:
    labels, embeddings = dataset.labels[numbers], arrays["embeddings"]
    near, hits = nearest(embeddings), recalled(embeddings, labels)
    own = [labels == index for index in range(len(dataset.classes))]
    return Outcome(
        figures=_figures(embeddings, labels),
        classes=tuple(
            ClassRow(name, int(places.sum()), {"recall": float(hits[places].mean()) if places.any() else None})
            for name, places in zip(dataset.classes, own, strict=True)
        ),
        worst=tuple(
            MetPicture(
                dataset.sources[numbers[place]],
                nearest=dataset.sources[numbers[near[place]]],
                words=f"{dataset.classes[labels[place]]}, nearest is {dataset.classes[labels[near[place]]]}",
            )
            for place in np.flatnonzero(~hits)[:_WORST]
        ),
    )


def _show(arrays: Arrays, numbers: NDArray[np.int64], dataset: Dataset, number: int) -> NDArray[np.uint8]:
    """The picture, and of a validation picture the one that is nearest to it."""
    from mnedge.report.overlay import side_by_side

    shown = [dataset.read(number, _SHOWN_SIDE)]
    if number in numbers:
        place = nearest(arrays["embeddings"])[np.flatnonzero(numbers == number)[0]]
        shown.append(dataset.read(int(numbers[place]), _SHOWN_SIDE))
    return side_by_side(shown)


def _mistakes(predictions: Predictions, dataset: Dataset) -> list[MixUp]:
    """Classes whose nearest neighbours are of another."""
    labels = predictions.labels
    found = labels[nearest(predictions.outputs)]
    pairs, counts = np.unique(np.stack([labels, found])[:, labels != found], axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:10]
    totals = np.bincount(labels)
    return [
        MixUp(dataset.classes[truth], dataset.classes[other], int(count), float(count / totals[truth]))
        for (truth, other), count in zip(pairs.T[order].tolist(), counts[order].tolist(), strict=True)
    ]


def _draw(pixels: NDArray[np.uint8], answer: Answer, _said: Predictions, _place: int, _seen: Seen) -> NDArray[np.uint8]:
    from mnedge.report.overlay import with_words

    return with_words(pixels, [] if answer.vector is None else [answer.vector.said])


TASK = Task(
    name="embed",
    title="image embedding",
    metrics=(
        Metric("roc_auc", "ROC AUC", is_headline=True),
        Metric("recall_at_1", "recall at 1"),
        Metric("recall", "recall at 1", by_class=True),
    ),
    heads=("embedding",),
    open_dataset=open_dataset,
    classes=lambda _dataset: None,
    check=_check,
    objective=_objective,
    outcome=_outcome,
    show=_show,
    show_target=show_class,
    answers=vector_answers,
    draw=_draw,
    accuracy=embed_figures,
    agreement=same_nearest,
    mistakes=_mistakes,
    schedule=Schedule(head_epochs=4, epochs=24, batch_size=32),
)
