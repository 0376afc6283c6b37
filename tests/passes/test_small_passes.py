"""Passes that each rewrite one op or a pair of ops."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Quantization
from mnedge.passes import (
    divide_to_multiply,
    drop_identities,
    fold_constants,
    fold_pad,
    fully_connected_to_conv,
    fuse_activation,
    lower_to_multiply,
    pool_to_mean,
)
from mnedge.passes._pass import run_passes


def _kinds(graph: Any) -> Any:
    return [op.kind for op in graph.ops]


def test_an_unknown_pass_lists_the_known_ones(sketch: Any) -> None:
    sketch.value("x", 1, 2)
    sketch.value("y", 1, 2)
    sketch.op("RELU", ("x",), "y")
    with pytest.raises(InputError, match="did you mean 'fold-pad'"):
        run_passes(sketch.graph("x", "y"), ("fold-pat",))


@pytest.mark.parametrize("kind", ["RELU", "RELU6"])
@pytest.mark.parametrize("q", [None, (0.05, -128)], ids=["float", "int8"])
def test_activations_are_fused(sketch: Any, kind: Any, q: Any, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 4, 4, 3, q=q and (0.05, 0))
    sketch.value("a", 1, 4, 4, 6, q=q and (0.05, 0))
    sketch.value("y", 1, 4, 4, 6, q=q)
    sketch.conv("x", "a", (6, 1, 1, 3))
    sketch.op(kind, ("a",), "y")
    graph = sketch.graph("x", "y")
    fused = fuse_activation.apply(graph)
    assert _kinds(fused) == ["CONV_2D"]
    assert fused.ops[0].options["activation"] == kind
    difference = np.abs(execute(graph, feed(graph))[0].astype(float) - execute(fused, feed(graph))[0])
    # An int8 conv that clips at 6.35 first and at its own scale's end cannot say more than one step.
    assert difference.max() <= (0 if q is None else 1)


def test_an_activation_whose_input_others_read_stays(sketch: Any) -> None:
    sketch.value("x", 1, 4, 4, 3)
    sketch.value("a", 1, 4, 4, 6)
    sketch.value("y", 1, 4, 4, 6)
    sketch.conv("x", "a", (6, 1, 1, 3))
    sketch.op("RELU", ("a",), "y")
    assert _kinds(fuse_activation.apply(sketch.graph("x", "y", "a"))) == ["CONV_2D", "RELU"]


@pytest.mark.parametrize("depthwise", [False, True])
def test_batch_norm_after_a_convolution_goes_into_it(sketch: Any, depthwise: Any, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 5, 5, 4)
    for name in ("a", "m", "s", "y"):
        sketch.value(name, 1, 5, 5, 4)
    sketch.constant("gamma", np.array([1.5, -0.5, 2.0, 0.1], np.float32))
    sketch.constant("mean", np.array([[[[0.3, -0.2, 0.5, 1.0]]]], np.float32))
    sketch.constant("three", np.float32(3))
    sketch.conv("x", "a", (1, 3, 3, 4) if depthwise else (4, 3, 3, 4), depthwise=depthwise)
    sketch.op("MUL", ("a", "gamma"), "m", activation="NONE")
    sketch.op("SUB", ("m", "mean"), "s", activation="NONE")
    sketch.op("ADD", ("three", "s"), "y", activation="RELU6")
    graph = sketch.graph("x", "y")
    folded = fold_constants.apply(graph)
    assert len(folded.ops) == 1
    np.testing.assert_allclose(execute(folded, feed(graph))[0], execute(graph, feed(graph))[0], rtol=1e-4, atol=1e-5)


def test_constant_minus_convolution_is_not_folded(sketch: Any) -> None:
    sketch.value("x", 1, 5, 5, 4)
    sketch.value("a", 1, 5, 5, 4)
    sketch.value("y", 1, 5, 5, 4)
    sketch.constant("one", np.float32(1))
    sketch.conv("x", "a", (4, 1, 1, 4))
    sketch.op("SUB", ("one", "a"), "y", activation="NONE")
    assert _kinds(fold_constants.apply(sketch.graph("x", "y"))) == ["CONV_2D", "SUB"]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_global_pooling_becomes_a_mean_that_the_delegate_takes(
    sketch: Any, dtype: Any, execute: Any, partitions: Any, feed: Any
) -> None:
    q = (0.02, 3 + np.iinfo(dtype).min)
    sketch.value("x", 1, 7, 7, 8, q=q, dtype=dtype)
    sketch.value("y", 1, 1, 1, 8, q=q, dtype=dtype)
    window = {"filter_height": 7, "filter_width": 7, "stride_h": 2, "stride_w": 2, "padding": "VALID"}
    sketch.op("AVERAGE_POOL_2D", ("x",), "y", activation="NONE", **window)
    graph = sketch.graph("x", "y")
    rewritten = pool_to_mean.apply(graph)
    assert _kinds(rewritten) == ["MEAN"]
    assert partitions(graph) == 0
    assert partitions(rewritten) == 1
    difference = execute(graph, feed(graph))[0].astype(int) - execute(rewritten, feed(graph))[0]
    assert np.abs(difference).max() <= 1


def test_a_classifier_on_pooled_features_becomes_a_convolution(sketch: Any, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 4, 4, 6)
    sketch.value("m", 1, 6)
    sketch.value("y", 1, 5)
    sketch.constant("axes", np.array([1, 2], np.int32))
    sketch.constant("w", sketch.generator.normal(size=(5, 6)).astype(np.float32))
    sketch.constant("b", np.arange(5, dtype=np.float32))
    sketch.op("MEAN", ("x", "axes"), "m", keep_dims=False)
    sketch.op("FULLY_CONNECTED", ("m", "w", "b"), "y", activation="RELU", weights_format=0, keep_num_dims=False)
    graph = sketch.graph("x", "y")
    rewritten = fully_connected_to_conv.apply(graph)
    assert _kinds(rewritten) == ["MEAN", "CONV_2D", "RESHAPE"]
    np.testing.assert_allclose(execute(rewritten, feed(graph))[0], execute(graph, feed(graph))[0], rtol=1e-5, atol=1e-6)


def test_a_head_of_an_open_batch_keeps_it_open(sketch: Any) -> None:
    sketch.value("x", 1, 3, 3, 4)
    sketch.value("m", 1, 4)
    sketch.value("y", 1, 5)
    for name in ("x", "m", "y"):
        tensor = sketch.tensors[name]
        sketch.tensors[name] = replace(tensor, open_shape=(-1, *tensor.shape[1:]))
    sketch.constant("axes", np.array([1, 2], np.int32))
    sketch.constant("w", sketch.generator.normal(0, 0.4, (5, 4)).astype(np.float32))
    sketch.op("MEAN", ("x", "axes"), "m", keep_dims=False)
    sketch.op("FULLY_CONNECTED", ("m", "w", None), "y", activation="NONE")
    read = parse_tflite(write_tflite(fully_connected_to_conv.apply(sketch.graph("x", "y"))), "m.tflite")
    assert read.tensors["m"].shape == (1, 1, 1, 4)
    assert read.tensors["m"].open_shape == (-1, 1, 1, 4)


@pytest.mark.parametrize("q", [None, (0.05, 3)], ids=["float", "int8"])
@pytest.mark.parametrize("left_out", [True, False], ids=["short", "None"])
def test_a_head_without_bias_gets_one_of_zeros(
    sketch: Any, q: Any, left_out: Any, execute: Any, feed: Any, partitions: Any
) -> None:
    """CONV_2D takes no missing bias in LiteRT, FULLY_CONNECTED does."""
    sketch.value("x", 1, 3, 3, 4, q=q)
    sketch.value("m", 1, 4, q=q)
    sketch.value("y", 1, 5, q=q)
    weights = Quantization.per_tensor(0.01, 0)
    values = sketch.generator.normal(0, 0.4, (5, 4)).astype(np.float32)
    sketch.constant("w", values if q is None else weights.quantize(values, "int8"), None if q is None else weights)
    sketch.constant("axes", np.array([1, 2], np.int32))
    sketch.op("MEAN", ("x", "axes"), "m", keep_dims=False)
    sketch.op("FULLY_CONNECTED", ("m", "w") if left_out else ("m", "w", None), "y", activation="NONE")
    graph = sketch.graph("x", "y")
    rewritten = fully_connected_to_conv.apply(graph)
    rewritten.check()
    assert _kinds(rewritten) == ["MEAN", "CONV_2D", "RESHAPE"]
    np.testing.assert_allclose(execute(rewritten, feed(graph))[0], execute(graph, feed(graph))[0], rtol=1e-5, atol=1e-6)
    assert partitions(rewritten) == 1


def test_divisions_by_constants_become_products(sketch: Any, execute: Any, feed: Any) -> None:
    for name in ("x", "a", "y"):
        sketch.value(name, 1, 4, 4, 3)
    sketch.constant("c", np.array([127.5, -0.3, 3.0], np.float32))
    sketch.constant("zero", np.array([1.0, 0.0, 1.0], np.float32))
    sketch.op("DIV", ("x", "c"), "a", activation="RELU6")
    sketch.op("DIV", ("c", "a"), "y", activation="NONE")
    graph = sketch.graph("x", "a", "y")
    multiplied = divide_to_multiply.apply(graph)
    assert _kinds(multiplied) == ["MUL", "DIV"]
    np.testing.assert_allclose(execute(multiplied, feed(graph))[0], execute(graph, feed(graph))[0], rtol=1e-6)
    by_zero = graph.replaced(ops=[graph.ops[0].with_inputs({"c": "zero"})], outputs=["a"])
    assert divide_to_multiply.apply(by_zero) is by_zero


@pytest.mark.parametrize("kind", ["SQUARE", "NEG"])
def test_squares_and_negations_become_products(sketch: Any, kind: str, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 4, 4, 3)
    sketch.value("y", 1, 4, 4, 3)
    sketch.op(kind, ("x",), "y")
    graph = sketch.graph("x", "y")
    multiplied = lower_to_multiply.apply(graph)
    assert _kinds(multiplied) == ["MUL"]
    assert np.array_equal(execute(multiplied, feed(graph))[0], execute(graph, feed(graph))[0])
    assert lower_to_multiply.apply(multiplied) is multiplied


def test_ops_that_change_nothing_go(sketch: Any, execute: Any, feed: Any) -> None:
    for name in ("x", "a", "b"):
        sketch.value(name, 1, 4, 4, 2, q=(0.1, 0))
    sketch.value("c", 1, 16, 2, q=(0.1, 0))
    sketch.value("y", 1, 32, q=(0.1, 0))
    sketch.constant("flat", np.array([1, 16, 2], np.int32))
    sketch.constant("flatter", np.array([1, 32], np.int32))
    sketch.op("QUANTIZE", ("x",), "a")
    window = {"filter_height": 1, "filter_width": 1, "stride_h": 1, "stride_w": 1, "padding": "VALID"}
    sketch.op("AVERAGE_POOL_2D", ("a",), "b", activation="NONE", **window)
    sketch.op("RESHAPE", ("b", "flat"), "c", new_shape=(1, 16, 2))
    sketch.op("RESHAPE", ("c", "flatter"), "y", new_shape=(1, 32))
    graph = sketch.graph("x", "y")
    slimmer = drop_identities.apply(graph)
    assert _kinds(slimmer) == ["RESHAPE"]
    assert np.array_equal(execute(graph, feed(graph))[0], execute(slimmer, feed(graph))[0])


@pytest.mark.parametrize(("other", "kinds"), [((1, 1, 1, 3), ["ADD"]), ((3,), ["RESHAPE", "ADD"])])
def test_a_map_of_one_pixel_is_added_as_it_is(sketch: Any, same: Any, other: tuple[int, ...], kinds: list[str]) -> None:
    sketch.value("x", 1, 1, 1, 3)
    sketch.value("y", *other)
    sketch.value("flat", 3)
    sketch.constant("other", np.arange(3, dtype=np.float32).reshape(other))
    sketch.op("RESHAPE", ("x", sketch.constant("shape", np.array([3], np.int32))), "flat")
    sketch.op("ADD", ("other", "flat"), "y", activation="NONE")
    graph = sketch.graph("x", "y")
    slimmer = drop_identities.apply(graph)
    assert _kinds(slimmer) == kinds
    same(graph, slimmer)


def test_a_requantization_goes_into_the_convolution_before_it(sketch: Any) -> None:
    sketch.value("x", 1, 4, 4, 3, q=(0.05, 0))
    sketch.value("a", 1, 4, 4, 6, q=(0.05, 0))
    sketch.value("y", 1, 4, 4, 6, q=(0.07, -20))
    sketch.conv("x", "a", (6, 1, 1, 3))
    sketch.op("QUANTIZE", ("a",), "y")
    graph = sketch.graph("x", "y")
    merged = drop_identities.apply(graph)
    assert _kinds(merged) == ["CONV_2D"]
    quantization = merged.tensors["y"].quantization
    assert quantization is not None
    assert quantization.scale[0] == np.float32(0.07)


def test_an_identity_between_input_and_output_stays(sketch: Any) -> None:
    sketch.value("x", 1, 4, q=(0.1, 0))
    sketch.value("y", 1, 4, q=(0.1, 0))
    sketch.op("QUANTIZE", ("x",), "y")
    assert _kinds(drop_identities.apply(sketch.graph("x", "y"))) == ["QUANTIZE"]


def test_a_quantization_of_another_dtype_stays(sketch: Any) -> None:
    sketch.value("x", 1, 4, q=(0.1, 0))
    sketch.tensors["y"] = sketch.tensors["x"].__class__("y", (1, 4), "uint8", Quantization.per_tensor(0.1, 128))
    sketch.value("z", 1, 4, q=(0.1, 0))
    sketch.op("QUANTIZE", ("x",), "y")
    sketch.op("QUANTIZE", ("y",), "z")
    assert _kinds(drop_identities.apply(sketch.graph("x", "z"))) == ["QUANTIZE", "QUANTIZE"]


def test_open_height_and_width_are_not_taken_for_1(sketch: Any) -> None:
    """What holds for one pixel need not hold for the pictures that the file leaves open."""
    for name, shape in (("x", (1, 1, 1, 3)), ("p", (1, 2, 2, 3)), ("y", (1, 1, 1, 4)), ("z", (1, 1, 1, 4))):
        sketch.value(name, *shape)
    sketch.constant("widths", np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32))
    sketch.constant("size", np.array([1, 1], np.int32))
    sketch.op("PAD", ("x", "widths"), "p")
    sketch.conv("p", "y", (4, 2, 2, 3), padding="VALID")
    sketch.op("RESIZE_BILINEAR", ("y", "size"), "z", align_corners=False, half_pixel_centers=True)
    sketch.value("e", 1, 4)
    sketch.constant("axes", np.array([1, 2], np.int32))
    sketch.op("MEAN", ("z", "axes"), "e", keep_dims=False)
    graph = sketch.graph("x", "e")
    shapes = {name: graph.tensors[name].shape for name in ("x", "p", "y")}
    opened = graph.replaced(
        tensors=[replace(graph.tensors[name], open_shape=(1, -1, -1, shape[3])) for name, shape in shapes.items()]
    )
    for apply in (fold_pad.apply, drop_identities.apply):
        assert len(apply(graph).ops) == 3
        assert _kinds(apply(opened)) == _kinds(graph)


def test_a_pool_over_an_open_picture_is_not_global(sketch: Any) -> None:
    sketch.value("x", 1, 2, 2, 3)
    sketch.value("y", 1, 1, 1, 3)
    window = {"filter_height": 2, "filter_width": 2, "stride_h": 2, "stride_w": 2, "padding": "VALID"}
    sketch.op("AVERAGE_POOL_2D", ("x",), "y", activation="NONE", **window)
    graph = sketch.graph("x", "y")
    assert _kinds(pool_to_mean.apply(graph)) == ["MEAN"]
    opened = graph.replaced(tensors=[replace(graph.tensors["x"], open_shape=(1, -1, 2, 3))])
    assert _kinds(pool_to_mean.apply(opened)) == ["AVERAGE_POOL_2D"]


@pytest.mark.parametrize("q", [None, (0.05, 3)], ids=["float", "int8"])
def test_ones_in_front_go_where_arithmetic_broadcasts(sketch: Any, q: Any, execute: Any, feed: Any) -> None:
    """The converter makes (C,) of what a residual adds to one pixel; a batch of pictures has no such shape."""
    for name, *shape in (("x", 1, 1, 1, 4), ("r", 4), ("a", 1, 1, 1, 4), ("y", 1, 1, 1, 4)):
        sketch.value(name, *shape, q=q)
    sketch.constant("shape", np.array([4], np.int32))
    sketch.op("RESHAPE", ("x", "shape"), "r")
    sketch.conv("x", "a", (4, 1, 1, 4))
    sketch.op("ADD", ("a", "r"), "y", activation="NONE")
    graph = sketch.graph("x", "y")
    slim = drop_identities.apply(graph)
    assert _kinds(slim) == ["CONV_2D", "ADD"]
    np.testing.assert_array_equal(execute(slim, feed(graph))[0], execute(graph, feed(graph))[0])


def test_ones_in_front_stay_where_they_are_seen(sketch: Any) -> None:
    for name, *shape in (("x", 1, 1, 4), ("r", 4), ("s", 1, 4), ("y", 1, 4), ("z", 4)):
        sketch.value(name, *shape)
    for name, shape in (("shape", [4]), ("other", [1, 4])):
        sketch.constant(name, np.array(shape, np.int32))
    sketch.op("RESHAPE", ("x", "shape"), "r")
    sketch.op("RESHAPE", ("x", "other"), "s")
    sketch.op("RELU", ("r",), "z")
    # With (1, 1, 4) in its place the sum had three extents.
    sketch.op("ADD", ("s", "r"), "y", activation="NONE")
    graph = sketch.graph("x", "y", "z")
    assert drop_identities.apply(graph) is graph
