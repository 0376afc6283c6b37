"""Which ops count as float: all but the QUANTIZE and DEQUANTIZE at the graph's ends."""

from __future__ import annotations

import pytest

from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.graph.precision import float_ops


def chain(*steps: tuple[str, str]) -> Graph:
    """A chain of ops from a float input; each step is an op's kind and the dtype that it makes."""
    tensors = [Tensor("t0", (1, 4), "float32")]
    ops = []
    for number, (kind, dtype) in enumerate(steps, 1):
        quantization = None if dtype == "float32" else Quantization.per_tensor(0.1, 0)
        tensors.append(Tensor(f"t{number}", (1, 4), dtype, quantization))
        ops.append(Op(kind, (f"t{number - 1}",), (f"t{number}",)))
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("t0",), (tensors[-1].name,))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("QUANTIZE", "int8"), ("RELU", "int8"), ("DEQUANTIZE", "float32")], []),
        ([("QUANTIZE", "int8"), ("RELU", "int8")], []),
        ([("RELU", "float32"), ("LOGISTIC", "float32")], ["t1", "t2"]),
        # An island: the float op and both conversions around it.
        (
            [("QUANTIZE", "int8"), ("DEQUANTIZE", "float32"), ("EXP", "float32"), ("QUANTIZE", "int8")],
            ["t2", "t3", "t4"],
        ),
        # A float op at an end: its conversion is no end of the graph's.
        ([("EXP", "float32"), ("QUANTIZE", "int8"), ("RELU", "int8")], ["t1", "t2"]),
        # float16 is float too.
        ([("QUANTIZE", "int8"), ("RELU", "float16")], ["t2"]),
    ],
)
def test_float_ops_are_found_in_order(steps: list[tuple[str, str]], expected: list[str]) -> None:
    assert [op.outputs[0] for op in float_ops(chain(*steps))] == expected


def test_integers_throughout_have_none(small_int8: Graph) -> None:
    assert float_ops(small_int8) == []
