"""Figures by head, held against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mnedge.errors import InputError
from mnedge.graph.heads import shows_numbers
from mnedge.validation.heads import (
    average_precision,
    best_threshold,
    head_figures,
    roc_auc,
    warn_if_inverted,
)


def _scored(seed: int, *, rough: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(80) < 0.3
    scores = np.clip(rng.normal(0.35 + 0.25 * positive, 0.2), 0, 1)
    return (np.round(scores, 1) if rough else scores).astype(np.float32), positive


@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_areas_are_those_of_scikit_learn(seed: int, rough: bool) -> None:
    scores, positive = _scored(seed, rough=rough)
    assert roc_auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert average_precision(scores, positive) == pytest.approx(average_precision_score(positive, scores))


@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_is_right_more_often(seed: int, rough: bool) -> None:
    scores, positive = _scored(seed, rough=rough)
    threshold, share = best_threshold(scores, positive)
    assert share == np.mean((scores >= threshold) == positive)
    assert share == max(np.mean((scores >= at) == positive) for at in (*scores, 2.0))


def test_all_of_one_kind_have_no_area() -> None:
    scores = np.array([0.1, 0.9], np.float32)
    assert roc_auc(scores, np.ones(2, bool)) is None
    assert average_precision(scores, np.zeros(2, bool)) is None
    assert best_threshold(scores, np.zeros(2, bool))[1] == 1.0


def test_a_sigmoid_is_scored_at_its_threshold() -> None:
    outputs = np.array([[0.2], [0.45], [0.4], [0.9]], np.float32)
    found = head_figures("sigmoid", outputs, np.array([0, 1, 0, 1]))
    assert (found.metrics["top1"], found.metrics["roc_auc"], found.metrics["best_top1"]) == (0.75, 1.0, 1.0)
    assert 0.4 < found.metrics["best_threshold"] <= 0.45
    with pytest.raises(InputError, match=r"labels go up to 3.*--positive"):
        head_figures("sigmoid", outputs, np.array([0, 1, 3, 1]))


def test_labels_have_a_mean_average_precision() -> None:
    rng = np.random.default_rng(5)
    truths = rng.random((60, 4)) < 0.4
    outputs = rng.random((60, 4)).astype(np.float32)
    found = head_figures("multi-label", outputs, truths)
    assert found.metrics["map"] == pytest.approx(average_precision_score(truths, outputs, average="macro"))
    assert len(found.classes["ap"]) == 4


def test_numbers_have_error_and_noise() -> None:
    truths = np.full((5, 2), 10.0)
    found = head_figures("numbers", (truths + 1).astype(np.float32), truths)
    assert found.metrics == {"mae": 1.0, "snr_db": pytest.approx(20)}
    with pytest.raises(InputError, match="as many truths"):
        head_figures("numbers", np.zeros((5, 2), np.float32), np.zeros(5))


def test_right_classes_may_be_shares_and_numbers_are_told_apart() -> None:
    outputs = np.eye(4, dtype=np.float32)
    one_hot = np.eye(4)[[0, 1, 3, 3]]
    for truths in (np.array([0, 1, 3, 3]), np.array([[0], [1], [3], [3]]), one_hot, one_hot * 0.9 + 0.025):
        assert head_figures("logits", outputs, truths).metrics["top1"] == 0.75
    assert not shows_numbers(one_hot)
    assert not shows_numbers(np.array([0.0, 2.0]))
    assert shows_numbers(one_hot * 7 - 3)
    with pytest.raises(InputError, match=r"float64 of shape \(4, 4\).*--head numbers"):
        head_figures("logits", outputs, one_hot * 7 - 3)


def test_classes_are_counted_as_ever() -> None:
    found = head_figures("softmax", np.eye(6, dtype=np.float32), np.array([0, 1, 2, 3, 4, 0]))
    assert found.metrics["top1"] == pytest.approx(5 / 6)
    assert found.metrics["top5"] == 1.0


@pytest.mark.parametrize(
    ("classes", "positive", "is_named", "told"),
    [
        (("cat", "a dog"), 0, True, "give --positive 'a dog'"),
        (("ape", "bat", "cow"), 2, True, "name another class with --positive"),
        # As `build --positive dog` calls the others: no name that --positive takes.
        (("not dog", "dog"), 1, False, "name another class with --positive"),
    ],
)
def test_a_yes_that_is_the_other_class_is_warned_of(
    classes: tuple[str, ...], positive: int, is_named: bool, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    truths = np.array([1, 1, 0, 0, 0])
    scores = np.array([0.1, 0.2, 0.9, 0.8, 0.15], np.float32)
    warn_if_inverted("m.tflite", head_figures("sigmoid", 1 - scores, truths), classes, positive, is_named=is_named)
    assert caplog.text == ""
    warn_if_inverted("m.tflite", head_figures("sigmoid", scores, truths), classes, positive, is_named=is_named)
    assert f"m.tflite has a ROC AUC of 16.7 % with {classes[positive]} as the yes" in caplog.text
    assert told in caplog.text
