"""classify.py of the Raspberry Pi: what it says of a model's scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_LABELS = ("ant", "bee", "cat")


@pytest.fixture
def classify(program_of: Callable[[str], Any]) -> Any:
    """classify.py as a module."""
    return program_of("classify")


def test_probabilities_are_told_as_they_are_the_highest_first(classify: Any) -> None:
    found = classify.answers(np.array([0.2, 0.5, 0.3], np.float32), _LABELS, "softmax", 2)
    assert [(entry["label"], entry["index"]) for entry in found] == [("bee", 1), ("cat", 2)]
    assert [entry["score"] for entry in found] == pytest.approx([0.5, 0.3])


def test_equal_scores_keep_the_order_of_the_labels(classify: Any) -> None:
    assert [
        entry["index"] for entry in classify.answers(np.array([0.5, 0, 0.5], np.float32), _LABELS, "softmax", 3)
    ] == [0, 2, 1]


def test_logits_become_probabilities_without_overflow(classify: Any) -> None:
    first, second, _ = classify.answers(np.array([1000, 1000 + np.log(3), -1000], np.float32), _LABELS, "logits", 3)
    assert (first["label"], second["label"]) == ("bee", "ant")
    assert (first["score"], second["score"]) == pytest.approx((0.75, 0.25), abs=1e-4)


@pytest.mark.parametrize("head", ["sigmoid", "multi-label"])
def test_labels_by_themselves_have_a_yes_or_no_each(classify: Any, head: str) -> None:
    found = classify.answers(np.array([0.49, 0.5, 0.9], np.float32), _LABELS, head, 1)
    assert [(entry["label"], entry["yes"]) for entry in found] == [("ant", False), ("bee", True), ("cat", True)]
