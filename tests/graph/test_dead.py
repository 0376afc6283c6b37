"""Ops whose results nobody reads are removed, with those that only they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.graph.dead import without_dead
from mnedge.graph.graph import Op, Tensor

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def test_what_nobody_reads_goes_and_the_rest_stays(digits_fp32: Graph) -> None:
    spare = [Tensor("one", (1, 8), "float32"), Tensor("two", (1, 8), "float32")]
    ops = [*digits_fp32.ops, Op("RELU", ("mean",), ("one",), {}), Op("RELU", ("one",), ("two",), {})]
    assert without_dead(digits_fp32.replaced(tensors=spare, ops=ops)).ops == digits_fp32.ops
    read = digits_fp32.replaced(tensors=spare, ops=ops, outputs=(*digits_fp32.outputs, "one"))
    assert without_dead(read).ops == tuple(ops[:-1])
