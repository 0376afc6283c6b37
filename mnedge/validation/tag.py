"""Figures of labels that do not exclude each other: average precision, recall, precision and F1 of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError
from mnedge.graph.heads import THRESHOLD
from mnedge.results.accuracy import Figures
from mnedge.validation.heads import average_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.validation.predict import Predictions


@dataclass(frozen=True)
class LabelFigures:
    """Figures of labels; those of one label are None where there is nothing to divide by.

    Attributes:
        map: Mean over labels of average precision, 0..1; labels that no picture has are left out.
        macro_f1: Mean over labels of F1 at a probability of 0.5, over those that are shown or said, 0..1.
        precision: Average precision of each label, 0..1.
        recall: Share of each label's pictures that are said to have it, 0..1.
        purity: Share of the pictures that are said to have a label that have it, 0..1.
    """

    map: float
    macro_f1: float
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    purity: tuple[float | None, ...]


def label_figures(probabilities: NDArray[np.float32], tags: NDArray[np.bool_]) -> LabelFigures:
    """The figures of some pictures.

    Args:
        probabilities: float32, (pictures, labels).
        tags: Whether each label holds, bool, (pictures, labels).
    """
    each = tuple(average_precision(probabilities[:, place], tags[:, place]) for place in range(tags.shape[1]))
    known = [value for value in each if value is not None]
    said = probabilities >= THRESHOLD
    right, shown, found = (said & tags).sum(axis=0), tags.sum(axis=0), said.sum(axis=0)
    counted = shown + found > 0
    return LabelFigures(
        map=float(np.mean(known)) if known else 0.0,
        macro_f1=float(np.mean(2 * right[counted] / (shown + found)[counted])) if counted.any() else 0.0,
        precision=each,
        recall=_shares(right, shown),
        purity=_shares(right, found),
    )


def _shares(right: NDArray[np.int64], of: NDArray[np.int64]) -> tuple[float | None, ...]:
    return tuple(float(one / all_) if all_ else None for one, all_ in zip(right.tolist(), of.tolist(), strict=True))


def multi_label_figures(predictions: Predictions, tags: NDArray[np.bool_], dataset: Dataset) -> Figures:
    """The figures of an accuracy row.

    Args:
        predictions: Predictions of an artifact; a probability for each label of the data.
        tags: Labels of its pictures, bool, (pictures, labels).
        dataset: Data set of the pictures.

    Raises:
        InputError: The outputs are no probabilities of these labels.
    """
    outputs = predictions.outputs.reshape(len(predictions.outputs), -1)
    if predictions.head not in ("multi-label", "sigmoid") or outputs.shape != tags.shape:
        raise InputError(
            f"{predictions.path} gives {predictions.head} of {outputs.shape[-1]} values, and {dataset.name} has "
            f"{tags.shape[1]} labels ({', '.join(dataset.classes[:8])}), each a yes or no; give a model that ends in "
            f"{tags.shape[1]} sigmoids, or leave --task out for data with one class a picture"
        )
    found = label_figures(outputs, tags)
    columns = (("ap", found.precision), ("recall", found.recall), ("precision", found.purity))
    classes = {key: dict(zip(dataset.classes, values, strict=True)) for key, values in columns}
    return Figures({"map": found.map, "macro_f1": found.macro_f1}, classes=classes)
