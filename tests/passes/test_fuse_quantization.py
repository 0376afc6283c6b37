"""QDQ graphs to int8 ones: each op is held against the float op between its DEQUANTIZE and QUANTIZE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.passes.fuse_quantization import apply, int8_ends

if TYPE_CHECKING:
    from collections.abc import Callable

_IN, _OUT = Quantization.per_tensor(0.05, -7), Quantization.per_tensor(0.04, 11)
_NONE = {"activation": "NONE"}
_WINDOW = {"stride_h": 1, "stride_w": 1, "filter_height": 2, "filter_width": 2, "padding": "VALID", **_NONE}


def _between(ops: list[Op], shape: tuple[int, ...], made: tuple[int, ...], *more: Tensor) -> Graph:
    """A float input, QUANTIZE, DEQUANTIZE, ops from "x" to "y", QUANTIZE, DEQUANTIZE."""
    tensors = [
        Tensor("image", shape, "float32"),
        Tensor("image_q", shape, "int8", _IN),
        Tensor("x", shape, "float32"),
        Tensor("y", made, "float32"),
        Tensor("y_q", made, "int8", _OUT),
        Tensor("out", made, "float32"),
        *more,
    ]
    ends = [Op("QUANTIZE", ("image",), ("image_q",)), Op("DEQUANTIZE", ("image_q",), ("x",))]
    last = [Op("QUANTIZE", ("y",), ("y_q",)), Op("DEQUANTIZE", ("y_q",), ("out",))]
    return Graph({tensor.name: tensor for tensor in tensors}, (*ends, *ops, *last), ("image",), ("out",))


_CASES: dict[str, tuple[list[Op], tuple[int, ...], list[Tensor]]] = {
    "MAX_POOL_2D": ([Op("MAX_POOL_2D", ("x",), ("y",), _WINDOW)], (1, 3, 3, 4), []),
    "AVERAGE_POOL_2D": ([Op("AVERAGE_POOL_2D", ("x",), ("y",), _WINDOW)], (1, 3, 3, 4), []),
    "SOFTMAX": ([Op("SOFTMAX", ("x",), ("y",), {"beta": 1.0})], (1, 4, 4, 4), []),
    "LOGISTIC": ([Op("LOGISTIC", ("x",), ("y",))], (1, 4, 4, 4), []),
    "ADD": ([Op("ADD", ("x", "x"), ("y",), _NONE)], (1, 4, 4, 4), []),
    "MUL": ([Op("MUL", ("x", "c"), ("y",), _NONE)], (1, 4, 4, 4), [constant("c", np.array(-0.3, np.float32))]),
    "CONCATENATION": ([Op("CONCATENATION", ("x", "x"), ("y",), {"axis": 3, **_NONE})], (1, 4, 4, 8), []),
    "hard-sigmoid": (
        [
            Op("ADD", ("x", "three"), ("gate",), {"activation": "RELU6"}),
            Op("MUL", ("gate", "sixth"), ("y",), _NONE),
        ],
        (1, 4, 4, 4),
        [
            constant("three", np.array(3, np.float32)),
            constant("sixth", np.array(1 / 6, np.float32)),
            Tensor("gate", (1, 4, 4, 4), "float32"),
        ],
    ),
}


@pytest.mark.parametrize("case", _CASES)
def test_ops_between_become_int8_within_a_step(case: str, execute: Callable[..., Any]) -> None:
    ops, made, more = _CASES[case]
    graph = _between(ops, (1, 4, 4, 4), made, *more)
    graph.check()
    fused = apply(graph)
    fused.check()
    floats = [op.kind for op in fused.ops if any(fused.tensors[name].dtype == "float32" for name in op.outputs)]
    assert floats == ["DEQUANTIZE"], "at the output alone"
    feed = np.random.default_rng(0).normal(0, 2, (1, 4, 4, 4)).astype(np.float32)
    wanted, found = execute(graph, feed)[0], execute(fused, feed)[0]
    assert np.abs(found - wanted).max() <= 1.01 * float(_OUT.scale[0])


def test_ends_become_int8_and_keep_their_names() -> None:
    graph = int8_ends(apply(_between([Op("ADD", ("x", "x"), ("y",), _NONE)], (1, 4, 4, 4), (1, 4, 4, 4))))
    graph.check()
    assert [op.kind for op in graph.ops] == ["ADD"]
    assert (graph.inputs, graph.outputs) == (("image",), ("out",))
    assert [graph.tensors[name].dtype for name in ("image", "out")] == ["int8", "int8"]


def test_a_result_that_is_read_as_real_values_stays_float() -> None:
    graph = _between([Op("ADD", ("x", "x"), ("y",), _NONE)], (1, 4, 4, 4), (1, 4, 4, 4))
    graph = graph.replaced(outputs=("out", "y"))
    assert [op.kind for op in apply(graph).ops] == [op.kind for op in graph.ops]


def test_a_float_graph_stays_as_it_is(digits_fp32: Graph) -> None:
    assert apply(digits_fp32) is digits_fp32
