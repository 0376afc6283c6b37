"""Ops that move values: which they are, and that none of them mixes the pictures of a batch."""

from __future__ import annotations

import pytest

from mnedge.errors import UnsupportedError
from mnedge.graph.graph import Op
from mnedge.graph.moving import MOVING, beside_batch
from mnedge.graph.ops import OPS


def test_each_of_them_moves_by_its_row_in_the_table_of_ops() -> None:
    assert [kind for kind in MOVING if not OPS[kind].moves] == []


def test_an_axis_counts_from_the_front_and_is_never_the_batch() -> None:
    op = Op("CONCATENATION", ("x", "y"), ("both",))
    assert [beside_batch(op, axis, 4) for axis in (1, -1, 3)] == [1, 3, 3]
    for axis in (0, -4):
        with pytest.raises(UnsupportedError, match="CONCATENATION of both works along the batch"):
            beside_batch(op, axis, 4)
    # A vector has no axis for the batch.
    assert beside_batch(op, 0, 1) == 0
