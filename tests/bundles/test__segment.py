"""segment.py of a Raspberry Pi: masks in the picture's own size, unseen where the model does not look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def program(program_of: Callable[[str], Any]) -> Any:
    return program_of("segment")


def _about(**changed: Any) -> dict[str, Any]:
    return {"height": 2, "width": 2, "crop_fraction": 1.0, "fit": "crop", **changed}


def test_a_wide_picture_is_unseen_beside_its_middle(program: Any) -> None:
    mask = program.mask_of(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), (8, 4), _about())
    assert mask.shape == (4, 8)
    assert (mask[:, [0, 1, 6, 7]] == program.UNSEEN).all()
    assert mask[:, 2:6].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_a_stretched_picture_is_seen_whole(program: Any) -> None:
    mask = program.mask_of(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32), (8, 4), _about(fit="stretch"))
    assert mask[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert not (mask == program.UNSEEN).any()


def test_scores_are_enlarged_before_they_are_compared(program: Any) -> None:
    scores = np.zeros((2, 2, 2), np.float32)
    scores[:, 0, 0], scores[:, 1, 1] = 1.0, 3.0
    mask = program.mask_of(scores, (8, 8), _about())
    # Enlarged indices would change in the middle; class 1 is surer, so its scores reach further to the left.
    assert mask[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
