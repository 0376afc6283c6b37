"""Outlooks: which ops a target's C has no kernel for, and kinds in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mnedge import targets
from mnedge.graph.graph import Op
from mnedge.workflows.doctor_outlook import counted, without_kernel

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def test_ops_without_a_kernel_count_only_where_c_is_made(small_int8: Graph) -> None:
    assert without_kernel(small_int8, targets.get("cortex-m4")) == Counter()
    ops = (*small_int8.ops, Op("COS", ("scores",), ("more",)), Op("DEQUANTIZE", ("more",), ("end",)))
    graph = small_int8.replaced(ops=ops)
    assert without_kernel(graph, targets.get("cortex-m4")) == Counter({"COS": 1})
    assert without_kernel(graph, targets.get("cpu")) == Counter()


def test_kinds_are_named_with_their_numbers_the_most_frequent_first() -> None:
    assert counted(Counter({"COS": 1, "CAST": 3})) == "CAST 3, COS 1"
