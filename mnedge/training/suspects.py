"""Pictures that look mislabelled: confident learning (https://arxiv.org/abs/1911.00068) on the features of a backbone.

The out-of-sample scores that the method needs come from a ridge regression of one-hot labels on the features, whose
leave-one-out predictions have a closed form: no picture is judged by a model that has seen its label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Share of the mean eigenvalue of the features' covariance.
_RIDGE = 1.0


def suspects(features: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> list[tuple[int, int, float]]:
    """Finds pictures whose label their features contradict.

    Args:
        features: Features of all pictures, by a backbone that has not learned these labels: float32, (n, d).
        labels: int64, (n,).
        classes: Number of classes.

    Returns:
        Place, the class that it looks like, and the margin to its own class; the surest first.
    """
    scores = leave_one_out(features, labels, classes)
    own = scores[np.arange(labels.size), labels]
    # Threshold of a class: the mean score of its own pictures (eq. 2).
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.bincount(labels, own, minlength=classes) / np.maximum(counts, 1)
    thresholds[counts == 0] = np.inf
    confident = np.where(scores >= thresholds, scores, -np.inf)
    looks_like = confident.argmax(axis=1)
    margin = confident.max(axis=1) - own
    found = np.flatnonzero((looks_like != labels) & np.isfinite(margin))
    ranked = found[np.argsort(-margin[found], kind="stable")]
    return [(int(place), int(looks_like[place]), float(margin[place])) for place in ranked]


def leave_one_out(features: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Scores each picture by the regression on all others, float64, (n, classes).

    With the hat matrix H = X (X'X + r I)^-1 X', the prediction without picture i is (y_i - H_ii t_i) / (1 - H_ii).
    """
    flat = np.asarray(features.reshape(len(features), -1), np.float64)
    flat = flat - flat.mean(axis=0)
    known = np.hstack([flat, np.full((len(flat), 1), np.sqrt((flat**2).sum() / flat.size))])
    moments = known.T @ known
    ridge = _RIDGE * np.trace(moments) / len(moments)
    solved = np.linalg.solve(moments + ridge * np.eye(len(moments)), known.T).T
    leverage = np.minimum((solved * known).sum(axis=1), 1 - 1e-9)
    targets = np.eye(classes)[labels]
    fitted = known @ (solved.T @ targets)
    return np.asarray((fitted - leverage[:, None] * targets) / (1 - leverage)[:, None])
