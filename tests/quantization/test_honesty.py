"""int8 means int8, or the ops are named."""

from __future__ import annotations

import pytest

from mnedge.errors import UnsupportedError
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.quantization.honesty import check_int8


def with_island(graph: Graph, count: int = 1) -> Graph:
    """The graph with EXP in float behind its output, `count` times."""
    tensors, ops, at = [], list(graph.ops), graph.outputs[0]
    for number in range(count):
        kind = "DEQUANTIZE" if number == 0 else "EXP"
        tensors.append(Tensor(f"real{number}", (1, 4), "float32"))
        ops.append(Op(kind, (at,), (f"real{number}",)))
        at = f"real{number}"
    tensors.append(Tensor("end", (1, 4), "float32"))
    ops.append(Op("EXP", (at,), ("end",)))
    return graph.replaced(tensors=tensors, ops=ops, outputs=["end"])


def test_integers_pass(small_int8: Graph) -> None:
    assert check_int8(small_int8) == []
    assert check_int8(small_int8, ["EXP"]) == []


def test_a_float_op_is_named_with_the_way_out(small_int8: Graph) -> None:
    with pytest.raises(UnsupportedError) as caught:
        check_int8(with_island(small_int8))
    said = str(caught.value)
    assert said.startswith("2 of 5 ops of the int8 graph are float: DEQUANTIZE (real0); EXP (end)")
    assert "--allow-float EXP" in said
    assert caught.value.exit_code == 3


def test_what_is_allowed_is_returned_for_the_report(small_int8: Graph) -> None:
    assert [op.kind for op in check_int8(with_island(small_int8), ["EXP"])] == ["DEQUANTIZE", "EXP"]
    with pytest.raises(UnsupportedError, match=r"1 of 5 ops .* EXP \(end\)"):
        check_int8(with_island(small_int8), ["LOGISTIC"])


def test_a_long_list_is_cut(small_int8: Graph) -> None:
    with pytest.raises(UnsupportedError, match=r"and 3 more; keep them float with --allow-float EXP"):
        check_int8(with_island(small_int8, count=10))
