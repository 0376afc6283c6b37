"""Separation of classes by embeddings: verification of pairs and retrieval, within one split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError
from mnedge.results.accuracy import Figures
from mnedge.validation.accuracy import wilson_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.validation.predict import Predictions

# All pairs of so many pictures are two million.
_MOST_VERIFIED = 2000


def cosines(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines between all rows, float32 (n, n); rows need not have length 1."""
    rows = embeddings.reshape(len(embeddings), -1)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(rows @ rows.T, np.float32)


def nearest(embeddings: NDArray[np.float32]) -> NDArray[np.int64]:
    """The place of each row's nearest other row by cosine, int64 (n,)."""
    near = cosines(embeddings)
    np.fill_diagonal(near, -np.inf)
    return np.asarray(near.argmax(axis=1), np.int64)


def same_nearest(one: Predictions, two: Predictions) -> NDArray[np.float64]:
    """Returns whether two artifacts find the same nearest picture for each picture, 0 or 1, (pictures,)."""
    return np.asarray(nearest(one.outputs) == nearest(two.outputs), np.float64)


def recalled(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns whether the nearest other row has its class, bool (n,): recall at 1 (Jegou et al. 2011, section V)."""
    return np.asarray(labels[nearest(embeddings)] == labels)


def pair_auc(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Area under the ROC curve of "same class" by cosine, over all pairs of at most 2,000 rows, evenly spread.

    It is the share of (same, different) pairs of pairs in which the same one is nearer (Mann and Whitney 1947).
    """
    from sklearn.metrics import roc_auc_score

    if len(labels) > _MOST_VERIFIED:
        rows = np.linspace(0, len(labels) - 1, _MOST_VERIFIED).astype(int)
        embeddings, labels = embeddings[rows], labels[rows]
    one, two = np.triu_indices(len(labels), 1)
    return float(roc_auc_score(labels[one] == labels[two], cosines(embeddings)[one, two]))


def check_pairs(labels: NDArray[np.int64], name: str) -> None:
    """Makes sure that there are pairs of one class and pairs of two.

    Raises:
        InputError: There are none.
    """
    counts = np.bincount(labels)
    if np.count_nonzero(counts) < 2 or counts.max() < 2:
        raise InputError(
            f"{name} has no pairs to verify in its eval split: it takes two pictures of one class, and one of another"
        )


def embed_figures(predictions: Predictions, dataset: Dataset) -> Figures:
    """ROC AUC of pairs, and recall at 1 with its interval.

    Raises:
        InputError: There are no pairs of one class, or none of two.
    """
    labels = predictions.labels
    check_pairs(labels, dataset.name)
    hits = recalled(predictions.outputs, labels)
    return Figures(
        {"roc_auc": pair_auc(predictions.outputs, labels), "recall_at_1": float(hits.mean())},
        {"recall_at_1": wilson_interval(int(hits.sum()), int(hits.size))},
    )
