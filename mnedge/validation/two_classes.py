"""Curves of two classes: recall, false positives and precision at every threshold on the positive class' score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.heads import THRESHOLD
from mnedge.results.two_classes import OperatingPoint, TwoClasses
from mnedge.validation.heads import average_precision, roc_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Points of a curve that a plot can show.
_MOST_POINTS = 100


def two_classes(scores: NDArray[np.float32], positive: NDArray[np.bool_], name: str) -> TwoClasses | None:
    """The curves of two classes; None where the pictures show only one of them.

    Args:
        scores: Probability of the positive class, (pictures,).
        positive: Whether it is the right one, (pictures,).
        name: Name of the positive class.
    """
    area, precision = roc_auc(scores, positive), average_precision(scores, positive)
    if area is None or precision is None:
        return None
    points = _points(scores, positive)
    balanced = np.array([(point.recall + 1 - point.false_positive_rate) / 2 for point in points])
    # A rounding error is no better threshold; that which takes nothing for positive may lie above 1.
    equal = 1 + np.flatnonzero(balanced[1:] >= balanced[1:].max() - 1e-12)
    best = min(equal.tolist(), key=lambda place: abs(points[place].threshold - THRESHOLD))
    kept = np.unique(np.append(np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int), best))
    return TwoClasses(
        positive=name,
        images=int(scores.size),
        positives=int(positive.sum()),
        roc_auc=area,
        average_precision=precision,
        best=points[best],
        balanced_accuracy=float(balanced[best]),
        points=tuple(points[place] for place in kept.tolist()),
    )


def _points(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> list[OperatingPoint]:
    """An operating point for each way to part the pictures, from none to all of them taken for positive.

    Thresholds lie half way between neighbouring scores, so that rounding to int8 moves as few pictures as may be.
    """
    values, places = np.unique(scores.astype(np.float32), return_inverse=True)
    hits = np.bincount(places, positive, len(values))[::-1].cumsum()
    false = np.bincount(places, ~positive, len(values))[::-1].cumsum()
    middles = (values[1:] + values[:-1]) / 2
    # Programs compare 32 bits, in which neighbours have no middle.
    middles = np.where(middles > values[:-1], middles, values[1:])[::-1]
    # Scores are probabilities: from 0 on, all are positive.
    thresholds = [*middles.tolist(), 0.0]
    yes, no = int(positive.sum()), int((~positive).sum())
    found = [OperatingPoint(float(np.nextafter(values[-1], np.float32(2))), 0.0, 0.0, 1.0)]
    found += [
        OperatingPoint(threshold, float(hit / yes), float(wrong / no), float(hit / (hit + wrong)))
        for threshold, hit, wrong in zip(thresholds, hits.tolist(), false.tolist(), strict=True)
    ]
    return found


def positive_scores(scores: NDArray[np.float32], head: str) -> NDArray[np.float32] | None:
    """Probabilities of the positive one of two classes, (pictures,); None for other outputs.

    Args:
        scores: Outputs, (pictures, 1) of a sigmoid, or (pictures, 2).
        head: Kind of the outputs.
    """
    if head == "sigmoid":
        return scores.reshape(len(scores))
    if scores.ndim != 2 or scores.shape[1] != 2 or head not in ("softmax", "logits"):
        return None
    if head == "softmax":
        return np.asarray(scores[:, 1])
    return np.asarray(1 / (1 + np.exp(np.clip(scores[:, 0] - scores[:, 1], -80, 80))), np.float32)
