"""Figures that count every class alike, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from mnedge.data import balance


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, 60, p=[0.7, 0.15, 0.1, 0.05])
    predicted = np.where(rng.random(60) < 0.6, labels, rng.integers(0, 4, 60))
    table = balance.counted(predicted, labels, 4)
    assert balance.balanced_accuracy(table) == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert balance.macro_f1(table) == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_classes_without_pictures() -> None:
    table = balance.counted(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    assert balance.recalls(table) == [pytest.approx(2 / 3), None, None]
    assert balance.balanced_accuracy(table) == pytest.approx(2 / 3)


def test_uneven_and_worse_than_guessing() -> None:
    assert not balance.is_uneven(np.repeat([0, 1], [30, 10]))
    labels = np.repeat([0, 1], [31, 10])
    assert balance.is_uneven(labels)
    assert balance.largest_share(labels) == pytest.approx(31 / 41)
    assert balance.warning(0.9, labels) == ""
    assert "always saying the largest class would have 75.6 %" in balance.warning(31 / 41, labels)
