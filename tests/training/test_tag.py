"""Multi-label training: its weights and its loss, held against sums done by hand."""

import numpy as np
import pytest

from mnedge.training.tag import entropy, label_loss, label_weights


def test_yes_and_no_of_a_label_count_alike() -> None:
    tags = np.array([[1, 1], [0, 1], [0, 1], [0, 0]], bool)
    weights = label_weights(tags)
    np.testing.assert_allclose(weights, [[2 / 3, 2], [2, 2 / 3]])
    np.testing.assert_allclose(weights[1] * tags.sum(0), weights[0] * (~tags).sum(0), rtol=1e-6)


def test_a_rare_label_has_no_weight_without_end() -> None:
    tags = np.zeros((1000, 1), bool)
    tags[0] = True
    assert label_weights(tags)[1, 0] == 10


def test_the_loss_is_the_weighted_entropy() -> None:
    tags = np.array([[1, 0], [0, 0]], np.float32)
    said = np.array([[0.8, 0.3], [0.1, 0.5]], np.float32)
    weights = np.array([[0.5, 1.0], [2.0, 3.0]], np.float32)
    plain = -np.log(np.where(tags > 0, said, 1 - said)) * np.array([[2.0, 1.0], [0.5, 1.0]])
    np.testing.assert_allclose(label_loss(weights, 0.0)(tags, said), plain.mean(1), rtol=1e-5)
    # Smoothed labels: what is surely right costs something.
    sure = label_loss(np.ones((2, 2), np.float32), 0.1)(tags, np.abs(tags - 1e-6))
    np.testing.assert_allclose(sure, -0.05 * np.log(1e-6), rtol=0.01)


def test_entropy_of_the_validation_split_is_plain() -> None:
    said, tags = np.array([[0.25, 0.5]], np.float32), np.array([[True, False]])
    assert entropy(said, tags) == pytest.approx((np.log(4) + np.log(2)) / 2)
