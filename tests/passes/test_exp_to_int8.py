from typing import Any

import numpy as np
import pytest

from mnedge.passes import exp_to_int8


def _float_stretch(sketch: Any, *, read_twice: bool = False, kind: str = "QUANTIZE") -> Any:
    sketch.value("x", 1, 8, 8, 3, q=(0.03, 20))
    sketch.value("a", 1, 8, 8, 3)
    sketch.value("b", 1, 8, 8, 3)
    sketch.value("y", 1, 8, 8, 3, q=(0.09, -128) if kind == "QUANTIZE" else None)
    sketch.op("DEQUANTIZE", ("x",), "a")
    sketch.op("EXP", ("a",), "b")
    sketch.op(kind, ("b",), "y")
    return sketch.graph("x", "y", "a") if read_twice else sketch.graph("x", "y")


def test_the_table_says_what_the_float_function_says(sketch: Any, execute: Any, feed: Any) -> None:
    graph = _float_stretch(sketch)
    tabulated = exp_to_int8.apply(graph)
    assert [(op.kind, op.inputs, op.outputs) for op in tabulated.ops] == [("EXP", ("x",), ("y",))]
    difference = execute(graph, feed(graph))[0].astype(int) - execute(tabulated, feed(graph))[0]
    assert np.abs(difference).max() <= 1
    assert (difference == 0).mean() > 0.98


def test_a_float_value_that_others_read_stays(sketch: Any, execute: Any, feed: Any) -> None:
    graph = _float_stretch(sketch, read_twice=True)
    tabulated = exp_to_int8.apply(graph)
    assert [op.kind for op in tabulated.ops] == ["DEQUANTIZE", "EXP"]
    assert np.array_equal(execute(graph, feed(graph))[1], execute(tabulated, feed(graph))[1])


@pytest.mark.parametrize("kind", ["RELU", "EXP"])
def test_float_that_goes_on_is_left_alone(sketch: Any, kind: str) -> None:
    graph = _float_stretch(sketch, kind=kind)
    assert exp_to_int8.apply(graph) is graph
