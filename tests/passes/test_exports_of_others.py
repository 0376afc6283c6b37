"""sink-transposes, uint8-to-int8, rescale-concatenation, split-concatenation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.graph.graph import Quantization
from mnedge.passes import (
    drop_identities,
    fold_batch_norm,
    rescale_concatenation,
    sink_transposes,
    split_concatenation,
    uint8_to_int8,
)

TO_NCHW, TO_NHWC = np.array([0, 3, 1, 2], np.int32), np.array([0, 2, 3, 1], np.int32)


def _kinds(graph: Any) -> list[str]:
    return [op.kind for op in graph.ops]


@pytest.mark.parametrize("q", [None, (0.05, -3)], ids=["float", "int8"])
def test_transposes_around_ops_that_do_not_mind_go(sketch: Any, q: Any, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 6, 5, 3, q=q)
    sketch.value("a", 1, 6, 5, 4, q=q)
    for name in ("t", "m", "s"):
        sketch.value(name, 1, 4, 6, 5, q=q)
    sketch.value("p", 1, 4, 8, 7, q=q)
    sketch.value("u", 1, 8, 7, 4, q=q)
    sketch.value("y", 1, 6, 5, 2, q=q)
    steps = None if q is None else Quantization.per_tensor(0.01, 0)
    gamma = np.arange(1, 5).reshape(4, 1, 1) * (0.3 if q is None else 20)
    sketch.constant("gamma", gamma.astype(np.float32 if q is None else np.int8), steps)
    sketch.constant("to_nchw", TO_NCHW)
    sketch.constant("to_nhwc", TO_NHWC)
    sketch.constant("pads", np.array([[0, 0], [0, 0], [1, 1], [1, 1]], np.int32))
    sketch.conv("x", "a", (4, 1, 1, 3))
    sketch.op("TRANSPOSE", ("a", "to_nchw"), "t")
    sketch.op("MUL", ("t", "gamma"), "m", activation="NONE")
    sketch.op("ADD", ("m", "t"), "s", activation="RELU")
    sketch.op("PAD", ("s", "pads"), "p")
    sketch.op("TRANSPOSE", ("p", "to_nhwc"), "u")
    sketch.conv("u", "y", (2, 3, 3, 4), padding="VALID")
    graph = sketch.graph("x", "y")
    sunk = sink_transposes.apply(graph)
    assert _kinds(sunk) == ["CONV_2D", "MUL", "ADD", "PAD", "CONV_2D"]
    before, after = execute(graph, feed(graph))[0], execute(sunk, feed(graph))[0]
    assert np.array_equal(before, after) if q else np.allclose(before, after, atol=1e-5)


def test_slices_and_concatenations_are_turned_and_the_output_keeps_its_order(
    sketch: Any, execute: Any, feed: Any
) -> None:
    sketch.value("x", 1, 4, 5, 6, q=(0.1, 0))
    for name in ("t", "r", "back"):
        sketch.value(name, 1, 6, 4, 5, q=(0.1, 0))
    sketch.value("s", 1, 2, 4, 5, q=(0.1, 0))
    sketch.value("y", 1, 8, 4, 5, q=(0.1, 0))
    sketch.constant("to_nchw", TO_NCHW)
    sketch.constant("begin", np.array([0, 3, 0, 0], np.int32))
    sketch.constant("size", np.array([1, 2, 4, 5], np.int32))
    sketch.op("TRANSPOSE", ("x", "to_nchw"), "t")
    sketch.op("RELU", ("t",), "r")
    sketch.op("SLICE", ("t", "begin", "size"), "s")
    sketch.op("CONCATENATION", ("r", "s"), "y", axis=1, activation="NONE")
    graph = sketch.graph("x", "y")
    sunk = sink_transposes._Sinking(graph).run()
    sunk.check()
    assert _kinds(sunk) == ["RELU", "SLICE", "CONCATENATION", "TRANSPOSE"]
    assert np.array_equal(execute(graph, feed(graph))[0], execute(sunk, feed(graph))[0])
    # It moves 8 channels where the original moved 6: the graph stays.
    assert sink_transposes.apply(graph) is graph


@pytest.mark.parametrize("q", [None, (0.05, -3)], ids=["float", "int8"])
@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 2, 1)], ids=["keys-by-rows", "keys-by-columns"])
def test_attention_whose_heads_share_keys_moves_nothing(
    sketch: Any, order: tuple[int, ...], q: Any, execute: Any, feed: Any
) -> None:
    # As torch exports MobileNetV4's: queries (1, pixels, heads, depth) to (1, heads, pixels, depth), and back.
    depth, there = 4, 5
    stored = (1, there, 1, depth) if order == (0, 2, 3, 1) else (1, there, depth, 1)
    sketch.value("x", 1, 6, 2, depth, q=q)
    sketch.value("k", 1, there, 1, depth, q=q)
    sketch.value("r", *stored, q=q)
    sketch.value("queries", 1, 2, 6, depth, q=q)
    sketch.value("keys", 1, 1, depth, there, q=q)
    sketch.value("scores", 1, 2, 6, there, q=q and (0.02, 0))
    sketch.value("shares", 1, 2, 6, there, q=q and (1 / 256, -128))
    sketch.value("heads", 1, 2, 6, 3, q=q)
    sketch.value("y", 1, 6, 2, 3, q=q)
    values = np.arange(there * 3).reshape(1, 1, there, 3)
    sketch.constant("v", values.astype(np.float32 if q is None else np.int8), q and Quantization.per_tensor(0.05, 0))
    sketch.constant("apart", np.array([0, 2, 1, 3], np.int32))
    sketch.constant("turned", np.array(order, np.int32))
    sketch.constant("begin", np.zeros(4, np.int32))
    sketch.constant("size", np.array([1, there, 1, depth], np.int32))
    sketch.constant("stored", np.array(stored, np.int32))
    sketch.op("SLICE", ("x", "begin", "size"), "k")
    sketch.op("RESHAPE", ("k", "stored"), "r", new_shape=stored)
    sketch.op("TRANSPOSE", ("x", "apart"), "queries")
    sketch.op("TRANSPOSE", ("r", "turned"), "keys")
    sketch.op("BATCH_MATMUL", ("queries", "keys"), "scores", adj_x=False, adj_y=False)
    sketch.op("SOFTMAX", ("scores",), "shares", beta=1.0)
    sketch.op("BATCH_MATMUL", ("shares", "v"), "heads", adj_x=False, adj_y=False)
    sketch.op("TRANSPOSE", ("heads", "apart"), "y")
    graph = sketch.graph("x", "y")
    sunk = drop_identities.apply(sink_transposes.apply(graph))
    sunk.check()
    kinds = [kind for kind in _kinds(sunk) if kind != "RESHAPE"]
    assert kinds == ["SLICE", "BATCH_MATMUL", "SOFTMAX", "BATCH_MATMUL"]
    assert [sunk.tensors[op.outputs[0]].shape[:2] for op in sunk.ops if op.kind == "BATCH_MATMUL"] == [(1, 1)] * 2
    before, after = execute(graph, feed(graph))[0], execute(sunk, feed(graph))[0]
    assert np.array_equal(before, after) if q else np.allclose(before, after, atol=1e-5)


def test_each_batch_with_a_matrix_of_its_own_keeps_its_transposes(sketch: Any) -> None:
    sketch.value("x", 1, 6, 2, 4)
    sketch.value("queries", 1, 2, 6, 4)
    sketch.constant("keys", np.ones((1, 2, 4, 5), np.float32))
    sketch.value("y", 1, 2, 6, 5)
    sketch.constant("apart", np.array([0, 2, 1, 3], np.int32))
    sketch.op("TRANSPOSE", ("x", "apart"), "queries")
    sketch.op("BATCH_MATMUL", ("queries", "keys"), "y", adj_x=False, adj_y=False)
    graph = sketch.graph("x", "y")
    assert sink_transposes.apply(graph) is graph


def test_a_transpose_that_is_needed_stays(sketch: Any) -> None:
    sketch.value("x", 1, 4, 5, 6)
    sketch.value("t", 1, 6, 4, 5)
    sketch.value("y", 1, 120)
    sketch.constant("to_nchw", TO_NCHW)
    sketch.constant("shape", np.array([1, 120], np.int32))
    sketch.op("TRANSPOSE", ("x", "to_nchw"), "t")
    sketch.op("RESHAPE", ("t", "shape"), "y", new_shape=(1, 120))
    graph = sketch.graph("x", "y")
    assert sink_transposes.apply(graph) is graph


def _uint8_conv(sketch: Any, *, depthwise: bool, zero_point: int, spread: int) -> Any:
    shape, channels = ((1, 3, 3, 4), 4) if depthwise else ((5, 3, 3, 4), 5)
    rng = np.random.default_rng(5)
    low, high = max(0, zero_point - spread), min(255, zero_point + spread)
    sketch.value("x", 1, 6, 6, 4, q=(0.02, 130), dtype="uint8")
    sketch.value("y", 1, 6, 6, channels, q=(0.3, 120), dtype="uint8")
    weights = rng.integers(low, high + 1, shape).astype(np.uint8)
    bias = rng.integers(-2000, 2000, channels).astype(np.int32)
    sketch.constant("w", weights, Quantization.per_tensor(0.01, zero_point))
    sketch.constant("b", bias, Quantization.per_tensor(0.0002, 0))
    extra = {"depth_multiplier": 1} if depthwise else {}
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    sketch.op(kind, ("x", "w", "b"), "y", **options, **extra, activation="NONE")
    return sketch.graph("x", "y")


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(
    ("zero_point", "spread", "steps"),
    [(140, 110, 0), (60, 127, 0), (20, 235, 2)],
    ids=["fits", "just-fits", "is-rounded"],
)
def test_uint8_becomes_int8(
    sketch: Any, depthwise: bool, zero_point: int, spread: int, steps: int, execute: Any, feed: Any
) -> None:
    graph = _uint8_conv(sketch, depthwise=depthwise, zero_point=zero_point, spread=spread)
    lowered = uint8_to_int8.apply(graph)
    lowered.check()
    assert _kinds(lowered) == ["QUANTIZE", graph.ops[0].kind, "QUANTIZE"]
    weights = lowered.tensors[str(lowered.ops[1].inputs[1])]
    assert (weights.dtype, weights.quantization is not None and weights.quantization.zero_point.any()) == (
        "int8",
        False,
    )
    for name in ("x", "y"):
        assert lowered.tensors[name].dtype == "uint8"
    difference = np.abs(execute(graph, feed(graph))[0].astype(int) - execute(lowered, feed(graph))[0])
    assert difference.max() <= steps


def test_an_int8_or_float_model_stays_as_it_is(sketch: Any, small_int8: Any) -> None:
    sketch.value("x", 1, 4)
    sketch.value("y", 1, 4)
    sketch.op("RELU", ("x",), "y")
    assert uint8_to_int8.apply(small_int8) is small_int8
    graph = sketch.graph("x", "y")
    assert uint8_to_int8.apply(graph) is graph


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("activation", ["NONE", "RELU"])
def test_batch_norm_behind_an_int8_convolution_is_folded(
    sketch: Any, depthwise: bool, activation: str, execute: Any, feed: Any
) -> None:
    sketch.value("x", 1, 6, 6, 4, q=(0.02, 3))
    # The values between are coarse where the convolution's are fine: folding rounds once.
    sketch.value("c", 1, 6, 6, 4, q=(0.05, 0))
    sketch.value("m", 1, 6, 6, 4, q=(0.05, 0))
    sketch.value("y", 1, 6, 6, 4, q=(0.05, -10))
    gamma = np.array([100, -80, 0, 20], np.int8).reshape(1, 1, 1, 4)
    sketch.constant("gamma", gamma, Quantization.per_tensor(0.01, 0))
    sketch.constant("beta", np.array([5, -60, 40, 0], np.int8), Quantization.per_tensor(0.02, 0))
    sketch.conv("x", "c", (1, 3, 3, 4) if depthwise else (4, 1, 1, 4), depthwise=depthwise)
    sketch.op("MUL", ("c", "gamma"), "m", activation="NONE")
    sketch.op("ADD", ("beta", "m"), "y", activation=activation, pot_scale_int16=False)
    graph = sketch.graph("x", "y")
    folded = fold_batch_norm.apply(graph)
    folded.check()
    assert _kinds(folded) == [graph.ops[0].kind]
    assert folded.ops[0].options["activation"] == activation
    before, after = (execute(each, feed(graph))[0].astype(int) for each in (graph, folded))
    # Where the values between were cut at the end of their range, the original is the one that errs.
    inside = np.abs(execute(graph.replaced(outputs=["c"]), feed(graph))[0].astype(int)) < 126
    assert np.abs(before - after)[inside].max() <= 2
    assert np.array_equal(before[..., 2], after[..., 2])


def test_what_others_read_or_what_is_no_row_of_constants_stays(sketch: Any) -> None:
    for name in ("x", "c", "m", "n", "y"):
        sketch.value(name, 1, 6, 6, 4, q=(0.05, 0))
    steps = Quantization.per_tensor(0.01, 0)
    sketch.constant("gamma", np.array([1, 2, 3, 4], np.int8), steps)
    sketch.constant("plane", np.ones((1, 6, 6, 1), np.int8), steps)
    sketch.conv("x", "c", (4, 1, 1, 4))
    sketch.op("MUL", ("c", "plane"), "m", activation="NONE")
    sketch.op("MUL", ("m", "gamma"), "n", activation="NONE")
    sketch.op("ADD", ("n", "x"), "y", activation="NONE")
    graph = sketch.graph("x", "y")
    assert fold_batch_norm.apply(graph) is graph
    both = sketch.graph("x", "y", "c")
    assert fold_batch_norm.apply(both) is both


def test_a_custom_op_gets_uint8_as_before(sketch: Any) -> None:
    sketch.value("x", 1, 4, 4, 3, q=(0.1, 128), dtype="uint8")
    sketch.value("a", 1, 4, 4, 3, q=(0.1, 128), dtype="uint8")
    sketch.value("y", 1, 10, 4)
    sketch.constant("anchors", np.arange(8, dtype=np.uint8).reshape(2, 4), Quantization.per_tensor(0.1, 0))
    sketch.op("LOGISTIC", ("x",), "a")
    sketch.op("TFLite_Detection_PostProcess", ("a", "anchors"), "y", custom_options=b"")
    lowered = uint8_to_int8.apply(sketch.graph("x", "y"))
    lowered.check()
    assert _kinds(lowered) == ["QUANTIZE", "LOGISTIC", "QUANTIZE", "TFLite_Detection_PostProcess"]
    assert lowered.ops[-1].inputs == ("a", "anchors")
    assert lowered.tensors["a"].dtype == lowered.tensors["anchors"].dtype == "uint8"
    assert lowered.tensors["a/int8"].dtype == "int8"


def test_concatenations_join_within_one_scale(sketch: Any, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 4, 4, 3, q=(0.1, 128), dtype="uint8")
    sketch.value("a", 1, 4, 4, 3, q=(1 / 256, 0), dtype="uint8")
    sketch.value("y", 1, 4, 4, 6, q=(0.1, 128), dtype="uint8")
    sketch.op("LOGISTIC", ("x",), "a")
    sketch.op("CONCATENATION", ("x", "a"), "y", axis=3, activation="NONE")
    graph = sketch.graph("x", "y")
    joined = rescale_concatenation.apply(graph)
    assert _kinds(joined) == ["LOGISTIC", "QUANTIZE", "CONCATENATION"]
    assert joined.ops[-1].inputs[0] == "x"
    # Both round to the nearest step, ties differently.
    difference = np.abs(execute(graph, feed(graph))[0].astype(int) - execute(joined, feed(graph))[0])
    assert difference.max() <= 1
    assert rescale_concatenation.apply(joined) is joined


@pytest.mark.parametrize("count", [5, 6, 9, 10])
def test_long_concatenations_are_taken_in_steps(sketch: Any, count: int, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 2, 2, 2)
    for number in range(count):
        sketch.value(f"a{number}", 1, 2, 2, 3)
        sketch.conv("x", f"a{number}", (3, 1, 1, 2))
    sketch.value("y", 1, 2, 2, 3 * count)
    sketch.op("CONCATENATION", tuple(f"a{number}" for number in range(count)), "y", axis=-1, activation="NONE")
    graph = sketch.graph("x", "y")
    split = split_concatenation.apply(graph)
    split.check()
    joins = [op for op in split.ops if op.kind == "CONCATENATION"]
    assert len(joins) == -(-(count - 1) // 4)
    assert all(len(op.inputs) <= 5 for op in joins)
    assert np.array_equal(execute(graph, feed(graph))[0], execute(split, feed(graph))[0])
