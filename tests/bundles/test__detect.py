"""detect.py of a Raspberry Pi: anchors, decoding and suppression, held against small sums done by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def program(program_of: Callable[[str], Any]) -> Any:
    return program_of("detect")


def _told(**changed: Any) -> dict[str, Any]:
    sides, shapes = [[1, 2]], [[[0.5, 0.25]]]
    return {"sides": sides, "shapes": shapes, "least_score": 0.5, "overlap": 0.5, "most": 10, **changed}


def test_anchors_lie_row_by_row_in_the_middle_of_their_cells(program: Any) -> None:
    assert program.place_anchors(_told()).tolist() == [[0.5, 0.25, 0.5, 0.25], [0.5, 0.75, 0.5, 0.25]]


def test_codes_move_and_scale_their_anchor(program: Any) -> None:
    scores = np.array([[0.75], [0.25]], np.float32)
    codes = np.array([[2.0, 0.0, 5 * np.log(0.5), 0.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    ((index, score, box),) = program.find([scores, codes], _told())
    assert (index, score) == (0, 0.75)
    # The centre is moved by 0.2 of the anchor's height 0.5, and the height is halved.
    np.testing.assert_allclose(box, [0.475, 0.125, 0.725, 0.375], atol=1e-6)


def test_of_overlapping_boxes_of_one_class_the_surest_stays(program: Any) -> None:
    told = _told(sides=[[1, 1]], shapes=[[[0.5, 0.5], [0.5, 0.5], [0.1, 0.1]]])
    scores = np.array([[0.9, 0.0], [0.8, 0.7], [0.6, 0.0]], np.float32)
    found = program.find([scores, np.zeros((3, 4), np.float32)], told)
    assert [(index, round(score, 1)) for index, score, _ in found] == [(0, 0.9), (1, 0.7), (0, 0.6)]
    assert len(program.find([scores, np.zeros((3, 4), np.float32)], {**told, "most": 1})) == 1


def test_objects_of_the_model_itself_are_taken_as_they_are(program: Any) -> None:
    boxes = np.array([[-0.5, 0.0, 0.5, 2.0], [0.0, 0.0, 1.0, 1.0]], np.float32)
    outputs = [boxes, np.array([2.0, 0.0]), np.array([0.75, 0.0]), np.array([1.0])]
    assert program.find(outputs, _told()) == [(2, 0.75, [0.0, 0.0, 0.5, 1.0])]


def test_overlap_is_intersection_over_union(program: Any) -> None:
    one = np.array([0.0, 0.0, 1.0, 1.0], np.float32)
    others = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 1.0, 1.5], [2.0, 2.0, 3.0, 3.0]], np.float32)
    np.testing.assert_allclose(program.overlaps(one, others), [1.0, 1 / 3, 0.0])
