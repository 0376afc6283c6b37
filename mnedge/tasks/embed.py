"""Embedding: pictures as vectors, those of one class close together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.data import open_dataset
from mnedge.data.check import check_layout
from mnedge.results.accuracy import MixUp
from mnedge.tasks._task import Task
from mnedge.validation.embed import check_pairs, embed_figures, nearest, pair_auc, recalled, same_nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.tasks._task import Material
    from mnedge.training.phases import Lesson
    from mnedge.validation.predict import Predictions

_SHOWN_SIDE = 120
_WORST = 24


def _check(dataset: Dataset) -> None:
    check_layout(dataset)
    check_pairs(dataset.labels[dataset.split("eval")], dataset.name)


def _figures(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    return {"roc_auc": pair_auc(embeddings, labels), "recall_at_1": float(recalled(embeddings, labels).mean())}


def _lesson(material: Material) -> Lesson:
    from mnedge.training.classify import Labelled
    from mnedge.training.embed import embed

    dataset, rows = material.dataset, material.rows
    numbers, held = material.train.numbers, material.held.numbers
    return embed(
        Labelled(material.train.pixels, rows, dataset.labels[numbers[rows]]),
        Labelled(material.held.pixels, np.arange(held.size), dataset.labels[held]),
        len(dataset.classes),
        material.schedule,
        material.new_layers,
        _figures,
    )


def _outcome(judged: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64], dataset: Dataset) -> dict[str, Any]:
    labels, embeddings = dataset.labels[numbers], judged["embeddings"]
    near, hits = nearest(embeddings), recalled(embeddings, labels)
    return {
        **_figures(embeddings, labels),
        "classes": [
            {
                "class": name,
                "images": int((labels == index).sum()),
                "recall": float(hits[labels == index].mean()) if (labels == index).any() else None,
            }
            for index, name in enumerate(dataset.classes)
        ],
        "worst": [
            {
                "source": dataset.sources[numbers[place]],
                "nearest": dataset.sources[numbers[near[place]]],
                "words": f"{dataset.classes[labels[place]]}, nearest is {dataset.classes[labels[near[place]]]}",
            }
            for place in np.flatnonzero(~hits)[:_WORST]
        ],
    }


def _show(
    judged: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64], dataset: Dataset, number: int
) -> NDArray[np.uint8]:
    """The picture, and of a validation picture the one that is nearest to it."""
    from mnedge.report.overlay import side_by_side

    shown = [dataset.read(number, _SHOWN_SIDE)]
    if number in numbers:
        place = nearest(judged["embeddings"])[np.flatnonzero(numbers == number)[0]]
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


TASK = Task(
    name="embed",
    metric="roc_auc",
    heads=("embedding",),
    open_dataset=open_dataset,
    classes=lambda _dataset: None,
    check=_check,
    lesson=_lesson,
    outcome=_outcome,
    show=_show,
    accuracy=embed_figures,
    agreement=same_nearest,
    mistakes=_mistakes,
    schedule={"head_epochs": 4, "epochs": 24, "batch_size": 32},
)
