from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnedge.graph.graph import Quantization
from mnedge.passes import fold_scale


def _kinds(graph: Any) -> Any:
    return [op.kind for op in graph.ops]


def test_a_factor_travels_through_squeeze_and_excite_into_the_convolutions(sketch: Any, same: Any) -> None:
    for name in ("x", "h", "scaled", "gated"):
        sketch.value(name, 1, 6, 6, 8)
    sketch.value("m", 1, 1, 1, 8)
    sketch.value("s", 1, 1, 1, 8)
    sketch.value("t", 1, 1, 1, 8)
    sketch.value("y", 1, 6, 6, 3)
    sketch.constant("sixth", np.float32(1 / 6))
    sketch.constant("axes", np.array([1, 2], np.int32))
    sketch.op("RELU", ("x",), "h")
    sketch.op("MUL", ("h", "sixth"), "scaled", activation="NONE")
    sketch.op("MEAN", ("scaled", "axes"), "m", keep_dims=True)
    sketch.conv("m", "s", (8, 1, 1, 8), activation="RELU6")
    sketch.op("MUL", ("s", "sixth"), "t", activation="NONE")
    sketch.op("MUL", ("scaled", "t"), "gated", activation="NONE")
    sketch.conv("gated", "y", (3, 1, 1, 8))
    graph = sketch.graph("x", "y")
    folded = fold_scale.apply(graph)
    assert _kinds(folded) == ["RELU", "MEAN", "CONV_2D", "MUL", "CONV_2D"]
    np.testing.assert_allclose(folded.tensors["y/w"].real() * 36, graph.tensors["y/w"].real(), rtol=1e-6)
    same(graph, folded)


def test_outputs_and_ops_that_cannot_take_a_factor_get_it_back(sketch: Any, same: Any) -> None:
    for name in ("x", "h", "scaled", "soft"):
        sketch.value(name, 1, 5)
    sketch.constant("third", np.float32(1 / 3))
    sketch.op("RELU", ("x",), "h")
    sketch.op("MUL", ("h", "third"), "scaled", activation="NONE")
    sketch.op("SOFTMAX", ("scaled",), "soft", beta=1.0)
    graph = sketch.graph("x", "scaled", "soft")
    folded = fold_scale.apply(graph)
    assert folded.outputs == graph.outputs
    assert _kinds(folded).count("MUL") == 1
    same(graph, folded)


def test_a_negative_or_fused_mul_stays(sketch: Any) -> None:
    for name in ("x", "a", "b"):
        sketch.value(name, 1, 5)
    sketch.constant("minus", np.float32(-2))
    sketch.constant("two", np.float32(2))
    sketch.op("MUL", ("x", "minus"), "a", activation="NONE")
    sketch.op("MUL", ("a", "two"), "b", activation="RELU6")
    graph = sketch.graph("x", "b")
    assert _kinds(fold_scale.apply(graph)) == ["MUL", "MUL"]


def test_weights_that_two_layers_share_are_scaled_for_one_only(sketch: Any, same: Any) -> None:
    for name in ("x", "scaled", "y", "z"):
        sketch.value(name, 1, 4, 4, 4)
    sketch.constant("half", np.float32(0.5))
    sketch.op("MUL", ("x", "half"), "scaled", activation="NONE")
    sketch.conv("scaled", "y", (4, 1, 1, 4))
    sketch.conv("x", "z", (4, 1, 1, 4))
    sketch.ops[-1] = sketch.ops[-1].with_inputs({"z/w": "y/w"})
    graph = sketch.graph("x", "y", "z")
    same(graph, fold_scale.apply(graph))


@pytest.mark.parametrize("q", [None, (0.05, 3)], ids=["float", "int8"])
def test_a_sum_with_a_convolution_takes_the_factor_through(sketch: Any, q: Any, execute: Any, feed: Any) -> None:
    for name in ("x", "h", "c", "sum", "y"):
        sketch.value(name, 1, 6, 6, 4, q=q)
    sketch.value("scaled", 1, 6, 6, 4, q=q and (0.05 / 6, 3))
    sketch.constant(
        "sixth", np.float32(1 / 6) if q is None else np.int8(127), q and Quantization.per_tensor(1 / 762, 0)
    )
    sketch.conv("x", "h", (4, 1, 1, 4))
    sketch.op("MUL", ("h", "sixth"), "scaled", activation="NONE")
    sketch.conv("scaled", "c", (4, 3, 3, 4))
    sketch.op("ADD", ("c", "scaled"), "sum", activation="NONE")
    sketch.conv("sum", "y", (4, 1, 1, 4))
    graph = sketch.graph("x", "y")
    folded = fold_scale.apply(graph)
    assert _kinds(folded) == ["CONV_2D", "CONV_2D", "ADD", "CONV_2D"]
    old, new = (execute(item, feed(graph))[0] for item in (graph, folded))
    if q is None:
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
    else:
        assert np.array_equal(old, new)


def test_preprocessing_goes_into_the_first_convolution(sketch: Any, same: Any) -> None:
    for name in ("x", "scaled", "shifted"):
        sketch.value(name, 1, 6, 6, 3)
    sketch.value("y", 1, 6, 6, 4)
    sketch.constant("k", np.float32(1 / 127.5))
    sketch.constant("one", np.float32(-1))
    sketch.op("MUL", ("x", "k"), "scaled", activation="NONE")
    sketch.op("ADD", ("scaled", "one"), "shifted", activation="NONE")
    sketch.conv("shifted", "y", (4, 3, 3, 3))
    graph = sketch.graph("x", "y")
    folded = fold_scale.apply(graph)
    assert _kinds(folded) == ["ADD", "CONV_2D"]
    same(graph, folded)


def test_a_clipped_sum_gets_one_mul_back_and_no_more(sketch: Any, same: Any) -> None:
    for name in ("x", "scaled", "c", "y"):
        sketch.value(name, 1, 6, 6, 4)
    sketch.constant("sixth", np.float32(1 / 6))
    sketch.op("MUL", ("x", "sixth"), "scaled", activation="NONE")
    sketch.conv("x", "c", (4, 3, 3, 4))
    sketch.op("ADD", ("c", "scaled"), "y", activation="RELU6")
    graph = sketch.graph("x", "y")
    folded = fold_scale.apply(graph)
    assert _kinds(folded).count("MUL") == 1
    same(graph, folded)


def test_a_sum_with_a_clipped_convolution_gets_its_factor_back(sketch: Any, same: Any) -> None:
    for name in ("x", "scaled", "c", "y"):
        sketch.value(name, 1, 6, 6, 4)
    sketch.constant("sixth", np.float32(1 / 6))
    sketch.op("MUL", ("x", "sixth"), "scaled", activation="NONE")
    sketch.conv("scaled", "c", (4, 3, 3, 4), activation="RELU6")
    sketch.op("ADD", ("c", "scaled"), "y", activation="NONE")
    graph = sketch.graph("x", "y")
    folded = fold_scale.apply(graph)
    assert _kinds(folded).count("MUL") == 1
    same(graph, folded)


def _int8(sketch: Any, inner: Any, outer: Any) -> Any:
    sketch.value("x", 1, 6, 6, 4, q=(0.02, -3))
    sketch.value("a", 1, 6, 6, 4, q=(inner, -128))
    sketch.value("m", 1, 6, 6, 4, q=(outer, -128))
    sketch.value("y", 1, 6, 6, 4, q=(0.05, 0))
    sketch.constant("sixth", np.int8(127), Quantization.per_tensor(1 / 6 / 127, 0))
    sketch.conv("x", "a", (4, 1, 1, 4), activation="RELU6")
    sketch.op("MUL", ("a", "sixth"), "m", activation="NONE")
    sketch.conv("m", "y", (4, 3, 3, 4))
    return sketch.graph("x", "y")


def test_an_int8_mul_that_changes_the_scale_only_is_dropped_bit_for_bit(sketch: Any, execute: Any, feed: Any) -> None:
    graph = _int8(sketch, 6 / 255, 1 / 255)
    folded = fold_scale.apply(graph)
    assert _kinds(folded) == ["CONV_2D", "CONV_2D"]
    for name in ("y/w", "y/b"):
        data = folded.tensors[name].data
        assert data is not None
        assert np.array_equal(data, graph.tensors[name].data)
    assert np.array_equal(execute(graph, feed(graph))[0], execute(folded, feed(graph))[0])


def test_an_int8_mul_that_narrows_the_range_stays(sketch: Any) -> None:
    graph = _int8(sketch, 6 / 255, 0.5 / 255)
    assert _kinds(fold_scale.apply(graph)) == _kinds(graph)


@given(steps=st.lists(st.sampled_from(["mul", "relu", "relu6", "conv", "add", "pool", "gate"]), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_any_chain_keeps_its_values(new_sketch: Any, same: Any, steps: Any) -> None:
    sketch = new_sketch()
    last = sketch.value("x", 1, 4, 4, 4)
    sketch.constant("k", np.float32(0.37))
    for number, step in enumerate(steps):
        name = sketch.value(f"v{number}", 1, 4, 4, 4)
        if step == "mul":
            sketch.op("MUL", (last, "k"), name, activation="NONE")
        elif step in ("relu", "relu6"):
            sketch.op(step.upper(), (last,), name)
        elif step == "conv":
            sketch.conv(last, name, (4, 1, 1, 4))
        elif step == "add":
            sketch.op("ADD", (last, "x"), name, activation="NONE")
        elif step == "pool":
            window = {"filter_height": 2, "filter_width": 2, "stride_h": 1, "stride_w": 1, "padding": "SAME"}
            sketch.op("AVERAGE_POOL_2D", (last,), name, activation="NONE", **window)
        else:
            sketch.op("MUL", (last, last), name, activation="RELU")
        last = name
    graph = sketch.graph("x", last)
    same(graph, fold_scale.apply(graph), rtol=1e-4)
