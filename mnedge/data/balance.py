"""Figures that count every class alike, for data whose classes have very different numbers of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The largest class may have this many times the pictures of the smallest before accuracy says little of the small ones.
_EVEN = 3.0


def is_uneven(labels: NDArray[np.int64]) -> bool:
    """Returns whether the largest class has more than three times the pictures of the smallest one with any.

    Args:
        labels: Class indices, int64, (pictures,).
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return bool(counts.size and counts.max() > _EVEN * counts.min())


def largest_share(labels: NDArray[np.int64]) -> float:
    """The accuracy of always saying the class with the most pictures, 0..1."""
    return float(np.bincount(labels).max() / labels.size) if labels.size else 0.0


def recalls(confusion: NDArray[np.int64]) -> list[float | None]:
    """The share of each class' pictures that are found, 0..1; None for a class without pictures.

    Args:
        confusion: Counts, int64, (classes, classes): row is the truth, column what was predicted.
    """
    shown = confusion.sum(axis=1)
    return [float(confusion[place, place] / count) if count else None for place, count in enumerate(shown.tolist())]


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """The mean recall of the classes that have pictures, 0..1; see `recalls`."""
    known = [value for value in recalls(confusion) if value is not None]
    return float(np.mean(known)) if known else 0.0


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """The mean of the classes' F1, 2 TP / (2 TP + FP + FN), over those that are shown or predicted, 0..1."""
    right = confusion.diagonal()
    counted = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * right[counted > 0] / counted[counted > 0])) if counted.any() else 0.0


def counted(predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts predictions, int64, (classes, classes): row is the truth, column what was predicted.

    Args:
        predicted: Class indices, int64, (pictures,), below `classes`.
        labels: The right ones.
        classes: Number of classes.
    """
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (labels, predicted), 1)
    return table


def warning(top1: float, labels: NDArray[np.int64]) -> str:
    """A sentence where a top-1 accuracy is not above that of always saying the largest class; "" otherwise."""
    share = largest_share(labels)
    if not labels.size or top1 > share:
        return ""
    return (
        f"top-1 is {100 * top1:.1f} %, and always saying the largest class would have {100 * share:.1f} %: the model "
        "has learned nothing that its pictures show; look at the recall of each class"
    )
