"""Leave-one-out by its closed form against really leaving one out; wrong labels that were put in are found."""

from __future__ import annotations

import numpy as np

from mnedge.training import suspects as module
from mnedge.training.suspects import leave_one_out, suspects


def _blobs(count: int, classes: int, width: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    labels = np.arange(count) % classes
    return (rng.normal(0, 1, (classes, width))[labels] + rng.normal(0, spread, (count, width))).astype(
        np.float32
    ), labels


def test_the_closed_form_is_leaving_one_out() -> None:
    features, labels = _blobs(24, 3, 5, 1.0)
    found = leave_one_out(features, labels, 3)
    # The same regression, fitted 24 times without the picture; the shift and ridge are those of all pictures.
    flat = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    known = np.hstack([flat, np.full((24, 1), np.sqrt((flat**2).sum() / flat.size))])
    ridge = module._RIDGE * np.trace(known.T @ known) / known.shape[1]
    for place in range(24):
        rest = np.arange(24) != place
        moments = known[rest].T @ known[rest] + ridge * np.eye(known.shape[1])
        weights = np.linalg.solve(moments, known[rest].T @ np.eye(3)[labels[rest]])
        np.testing.assert_allclose(found[place], known[place] @ weights, rtol=1e-6, atol=1e-9)


def test_wrong_labels_are_found_and_right_ones_are_left_alone() -> None:
    features, labels = _blobs(300, 4, 20, 0.7)
    assert len(suspects(features, labels, 4)) <= 3
    wrong = np.random.default_rng(8).choice(300, 12, replace=False)
    given = labels.copy()
    given[wrong] = (given[wrong] + 1) % 4
    found = suspects(features, given, 4)
    # Only what is surer than the mean of its class counts, which is about half of what is wrong.
    assert len(found) >= 6
    assert {place for place, _, _ in found} <= set(wrong.tolist())
    assert all(looks_like == labels[place] for place, looks_like, _ in found)
    margins = [margin for _, _, margin in found]
    assert margins == sorted(margins, reverse=True)


def test_a_class_without_pictures_is_nobodys() -> None:
    features, labels = _blobs(40, 2, 6, 3.0)
    assert all(looks_like < 2 for _, looks_like, _ in suspects(features, labels, 5))
