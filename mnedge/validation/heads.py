"""Figures of a network by the kind of its output: classes, one probability, labels, or numbers."""

from __future__ import annotations

import logging
import shlex
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError
from mnedge.graph.heads import THRESHOLD, are_shares, snr_db
from mnedge.results.accuracy import Figures
from mnedge.validation.accuracy import topk_hits, wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.graph.heads import Head
    from mnedge.untyped import AnyArray

_CHANCE = 0.5
_LOG = logging.getLogger(__name__)


def head_figures(head: Head, outputs: NDArray[np.float32], truths: AnyArray) -> Figures:
    """The figures of an accuracy row.

    Args:
        head: Kind of the outputs.
        outputs: Real values, (pictures, …).
        truths: Indices of classes, int64 (pictures,) or (pictures, 1), or shares of the classes, of the outputs'
            shape; of one probability whether it is so, (pictures,); of
            labels whether each holds, (pictures, labels); of numbers and maps the right values, of the outputs' shape.

    Returns:
        Of classes top1 and top5; of one probability top1 at 0.5, roc_auc, best_threshold and best_top1; of labels map,
        the mean over labels of average precision, and each one's ap; of numbers and maps mae and snr_db.

    Raises:
        InputError: Truths do not fit the outputs.
    """
    if head in ("softmax", "logits"):
        truths = _class_indices(outputs, truths)
        top1, top5 = (topk_hits(outputs, truths, count) for count in (1, 5))
        return Figures(
            {"top1": float(top1.mean()), "top5": float(top5.mean())},
            {"top1": wilson_interval(int(top1.sum()), top1.size)},
        )
    if head == "sigmoid":
        return _sigmoid(outputs.reshape(len(outputs)), truths)
    if truths.shape != outputs.shape:
        raise InputError(
            f"the truths have shape {truths.shape}, the outputs {outputs.shape}; a {head} output takes as many truths "
            "as it has values"
        )
    if head == "multi-label":
        each = [average_precision(outputs[:, place], truths[:, place] > THRESHOLD) for place in range(truths.shape[1])]
        known = [value for value in each if value is not None]
        named = {str(place): value for place, value in enumerate(each)}
        return Figures({"map": float(np.mean(known))} if known else {}, classes={"ap": named})
    noise = snr_db(truths, outputs)
    error = float(np.abs(outputs.astype(np.float64) - truths).mean())
    return Figures({"mae": error} if noise is None else {"mae": error, "snr_db": noise})


def _class_indices(outputs: NDArray[np.float32], truths: AnyArray) -> AnyArray:
    """(pictures,) indices of right answers that may also stand one a row, or as shares of the classes (one-hot)."""
    if truths.ndim == 2 and truths.shape[-1] == 1:
        truths = truths[:, 0]
    if truths.ndim > 1 and truths.shape == outputs.shape and are_shares(truths):
        return np.asarray(truths.argmax(-1))
    if truths.ndim != 1 or (truths.dtype.kind == "f" and np.any(truths != np.round(truths))):
        raise InputError(
            f"the truths are {truths.dtype} of shape {truths.shape}, and the output is scores of {outputs.shape[-1]} "
            "classes, whose truths are one index a sample; if the output is plain numbers, say so with --head numbers"
        )
    return truths


def _sigmoid(scores: NDArray[np.float32], truths: AnyArray) -> Figures:
    if not np.isin(truths, (0, 1)).all():
        raise InputError(
            f"the model has one output, yes or no, but labels go up to {truths.max()}; give data with two classes, "
            "the second one being the yes, or name that class with --positive"
        )
    right = (scores >= THRESHOLD) == (truths > THRESHOLD)
    threshold, best = best_threshold(scores, truths > THRESHOLD)
    metrics = {"top1": float(right.mean()), "best_threshold": threshold, "best_top1": best}
    area = roc_auc(scores, truths > THRESHOLD)
    return Figures(
        metrics if area is None else {**metrics, "roc_auc": area},
        {"top1": wilson_interval(int(right.sum()), right.size)},
    )


def warn_if_inverted(
    artifact: str, figures: Figures, classes: Sequence[str], positive: int, *, is_named: bool = True
) -> None:
    """Warns of a yes that is the other class: a ROC AUC under 50 % is that of an answer turned around.

    Args:
        artifact: Its name.
        figures: Figures of a model with one output.
        classes: Class names of the data.
        positive: Index of the class that was taken for the yes.
        is_named: Whether the other one is a class of the data, not all others under a name made for them.
    """
    area = figures.metrics.get("roc_auc")
    if area is None or area >= _CHANCE or "best_threshold" not in figures.metrics:
        return
    others = [name for place, name in enumerate(classes) if place != positive]
    is_one = is_named and len(others) == 1
    told = f"give --positive {shlex.quote(others[0])}" if is_one else "name another class with --positive"
    _LOG.warning(
        "%s has a ROC AUC of %.1f %% with %s as the yes, less than guessing: its yes is another class; %s",
        artifact,
        100 * area,
        classes[positive],
        told,
    )


def roc_auc(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve: how often a yes scores above a no, ties half; None where one of them is absent.

    Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve", Radiology 143.
    """
    yes, no = int(positive.sum()), int((~positive).sum())
    if not yes or not no:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # Mean rank of equal scores, from 1.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def best_threshold(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """The threshold with the most right answers on these very pictures, and their share; ties go to the one by 0.5."""
    values, places = np.unique(scores, return_inverse=True)
    above = np.bincount(places, positive, len(values))
    below = np.bincount(places, ~positive, len(values))
    # Yes from values[k] on: right are the yes there and the no before; k may lie behind all.
    right = np.concatenate([np.cumsum(above[::-1])[::-1], [0]]) + np.concatenate([[0], np.cumsum(below)])
    middles = (values[1:].astype(np.float64) + values[:-1]) / 2
    thresholds = np.concatenate([[min(0.0, float(values[0]))], middles, [float(np.nextafter(values[-1], np.inf))]])
    best = min(np.flatnonzero(right == right.max()).tolist(), key=lambda place: abs(thresholds[place] - THRESHOLD))
    return float(thresholds[best]), float(right[best] / len(scores))


def average_precision(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float | None:
    """Average precision: the sum over thresholds of precision times the gain in recall; None without a yes."""
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    # Equal scores pass a threshold together.
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(positive[order])[last]
    gains = np.diff(hits, prepend=0) / positive.sum()
    return float((gains * hits / (last + 1)).sum())


def _interval(right: NDArray[np.bool_]) -> list[float]:
    return list(wilson_interval(int(right.sum()), int(right.size)))
