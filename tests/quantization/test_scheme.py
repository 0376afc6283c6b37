"""What int8 asks of a graph: shared scales, known ranges, own constants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnedge.batch import Batch
from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.executor import predict
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.pixels import Pixels
from mnedge.quantization.scheme import input_quantization, layers_of, range_quantization, scheme_of, with_own_constants
from mnedge.runtimes import TensorSpec
from mnedge.runtimes._runtime import encode


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_a_range_holds_zero_and_both_ends(first: float, second: float) -> None:
    low, high = min(first, second), max(first, second)
    quantization = range_quantization(low, high)
    scale, zero_point = float(quantization.scale[0]), int(quantization.zero_point[0])
    assert -128 <= zero_point <= 127
    assert quantization.dequantize(np.array([zero_point], np.int8))[0] == 0.0
    for end in (low, high):
        stored = quantization.dequantize(quantization.quantize(np.array([end]), "int8"))[0]
        # Moving zero onto a step may move the range by half a step.
        assert abs(stored - end) <= scale * 1.01


@pytest.mark.parametrize(
    ("words", "scale", "zero_point"),
    [
        ("-1..1", 1 / 127.5, -1),
        ("0..1", 1 / 255, -128),
        ("0..255", 1.0, -128),
        ("-3..3", 3 / 127.5, -1),
        ("123.675,58.395", 1 / 58.395, -4),
        ("-0.5..1", 1.5 / 255, -43),
    ],
)
def test_the_step_is_the_pixel_in_every_range(words: str, scale: float, zero_point: int) -> None:
    pixels = Pixels.parse(words)
    dark = np.zeros((1, 1, 1, 3), np.float32)
    quantization = input_quantization(dark, pixels)
    assert quantization.scale[0] == np.float32(scale)
    assert quantization.zero_point[0] == zero_point
    pictures = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    spec = TensorSpec("image", pictures.shape, "int8", quantization)
    assert encode(pictures, spec, pixels).astype(int).ravel().tolist() == list(range(-128, 128))


@pytest.mark.parametrize("words", ["imagenet", "1..2"])
def test_real_zero_stays_a_step_where_the_pixel_cannot_be_one(words: str) -> None:
    pixels = Pixels.parse(words)
    quantization = input_quantization(np.zeros(1, np.float32), pixels)
    reals = pixels.real(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1))
    assert np.abs(quantization.dequantize(quantization.quantize(reals, "int8")) - reals).max() <= quantization.scale[0]
    assert -128 <= quantization.zero_point[0] <= 127


def test_what_is_no_picture_gets_its_own_range() -> None:
    quantization = input_quantization(np.array([-2.1, 2.6], np.float32), None)
    assert np.isclose(quantization.scale[0], 4.7 / 255)


def test_shared_weights_become_each_layers_own(net: Any, images: Any) -> None:
    twin = net().conv("a", 3, activation="NONE").conv("b", 3)
    first, second = twin.ops
    shared = replace(second, inputs=("a", "a/w", None))
    graph = replace(twin.graph(), ops=(first, shared))
    own = with_own_constants(graph)
    own.check()
    weights = [op.inputs[1] for op in own.ops]
    assert weights == ["a/w", "a/w_1"]
    assert own.tensors[str(own.ops[1].inputs[2])].real().tolist() == [0, 0, 0]
    np.testing.assert_array_equal(predict(own, images(2)), predict(graph, images(2)))


def _scheme(net: Any, images: Any, **options: Any) -> Any:
    return scheme_of(net.graph(), images(4), **options)


def test_ops_that_move_values_share_a_scale(net: Any, images: Any) -> None:
    chain = net().conv("c", 4)
    window = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "filter_height": 2, "filter_width": 2}
    chain.op("MAX_POOL_2D", "pool", ("c",), (1, 4, 4, 4), activation="NONE", **window)
    widths = chain.constant("widths", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    chain.op("PAD", "pad", ("pool", widths), (1, 6, 6, 4))
    scheme = _scheme(chain.conv("d", 4).mean().dense("e", 3).softmax(), images)
    group = scheme.group
    assert group["c"] == group["pool"] == group["pad"]
    assert len({group[name] for name in ("x", "c", "d", "mean", "e", "scores")}) == 6
    assert set(scheme.fixed) == {group["x"], group["scores"]}
    assert set(scheme.free_groups) == {group[name] for name in ("c", "d", "mean", "e")}
    scores = scheme.fixed[group["scores"]]
    assert (float(scores.scale[0]), int(scores.zero_point[0])) == (1 / 256, -128)
    assert [layer.output for layer in scheme.layers] == ["c", "d", "e"]
    assert "widths" not in group
    assert not {"c/w", "c/b"} & set(group)


def test_what_joins_a_fixed_scale_is_requantized_first(net: Any, images: Any) -> None:
    """Softmax has 1/256 whatever else stands in the concatenation."""
    both = net().conv("c", 3, activation="NONE")
    both.op("LOGISTIC", "gate", ("c",), (1, 8, 8, 3))
    both.op("CONCATENATION", "joined", ("c", "gate"), (1, 8, 8, 6), axis=3, activation="NONE")
    scheme = _scheme(both, images)
    joined = scheme.graph.ops[-1]
    assert [op.kind for op in scheme.graph.ops] == ["CONV_2D", "LOGISTIC", "QUANTIZE", "CONCATENATION"]
    assert scheme.group[str(joined.inputs[1])] == scheme.group["c"] == scheme.group["joined"]
    assert scheme.group["gate"] != scheme.group["joined"]
    np.testing.assert_array_equal(predict(scheme.graph, images(2)), predict(both.graph(), images(2)))


def test_an_op_without_int8_form_is_named(net: Any, images: Any) -> None:
    odd = net().conv("c", 3)
    odd.op("FLOOR", "f", ("c",), (1, 8, 8, 3))
    with pytest.raises(UnsupportedError, match=r"no int8 form of FLOOR \(f\); keep .* --allow-float FLOOR$"):
        _scheme(odd, images)


@pytest.mark.parametrize("allowed", [(), ("CUMSUM",)])
def test_float_is_not_advised_for_what_cannot_be_executed(net: Any, images: Any, allowed: Any) -> None:
    odd = net().conv("c", 3)
    odd.op("CUMSUM", "f", ("c", odd.constant("axis", np.array(1, np.int32))), (1, 8, 8, 3))
    with pytest.raises(UnsupportedError, match=r"CUMSUM \(f\).*; export the model without CUMSUM") as caught:
        _scheme(odd, images, allow_float=frozenset(allowed))
    assert "--allow-float" not in str(caught.value)


def test_what_all_has_one_fixed_scale_is_joined_as_it_is(net: Any, images: Any) -> None:
    both = net().conv("c", 3, activation="NONE")
    both.op("LOGISTIC", "one", ("c",), (1, 8, 8, 3)).op("LOGISTIC", "two", ("c",), (1, 8, 8, 3))
    both.op("CONCATENATION", "joined", ("one", "two"), (1, 8, 8, 6), axis=3, activation="NONE")
    scheme = _scheme(both, images)
    assert "QUANTIZE" not in [op.kind for op in scheme.graph.ops]
    assert float(scheme.fixed[scheme.group["joined"]].scale[0]) == 1 / 256


def test_what_moves_from_a_fixed_scale_is_requantized_before_it_joins_others(net: Any, images: Any) -> None:
    both = net().conv("c", 3, activation="NONE")
    shape = both.constant("shape", np.array([1, 8, 8, 3], np.int32))
    both.op("TANH", "gate", ("c",), (1, 8, 8, 3)).op("RESHAPE", "moved", ("gate", shape), (1, 8, 8, 3))
    both.op("CONCATENATION", "joined", ("c", "moved"), (1, 8, 8, 6), axis=3, activation="NONE")
    scheme = _scheme(both, images)
    assert [op.kind for op in scheme.graph.ops] == ["CONV_2D", "TANH", "RESHAPE", "QUANTIZE", "CONCATENATION"]
    assert scheme.group["moved"] == scheme.group["gate"] != scheme.group["joined"]


def test_every_output_of_a_split_has_the_scale_of_its_input(net: Any, images: Any) -> None:
    split = net().conv("c", 4, activation="NONE")
    axis = split.constant("axis", np.array(3, np.int32))
    split.op("SPLIT", "one", (axis, "c"), (1, 8, 8, 2), num_splits=2)
    split.tensors["two"] = Tensor("two", (1, 8, 8, 2), "float32")
    split.ops[-1] = replace(split.ops[-1], outputs=("one", "two"))
    scheme = scheme_of(split.graph("one", "two"), images(4))
    assert scheme.group["c"] == scheme.group["one"] == scheme.group["two"]


def test_an_allowed_op_stays_float(net: Any, images: Any) -> None:
    odd = net().conv("c", 3).op("DIV", "q", ("c", "c"), (1, 8, 8, 3), activation="NONE").conv("d", 2)
    scheme = _scheme(odd, images, allow_float=frozenset({"DIV"}))
    assert [scheme.is_float(op) for op in scheme.graph.ops] == [False, True, False]
    assert scheme.float_kinds == {"DIV"}


def test_a_quantized_graph_is_refused(small_int8: Graph, images: Any) -> None:
    with pytest.raises(UnsupportedError, match="quantized already; give the float model"):
        scheme_of(small_int8, images(1))


def test_layers_leave_out_weights_that_are_activations() -> None:
    tensors = [
        Tensor("x", (1, 4), "float32"),
        Tensor("w", (2, 4), "float32"),
        constant("b", np.zeros(2, np.float32)),
        Tensor("y", (1, 2), "float32"),
    ]
    graph = Graph({t.name: t for t in tensors}, (Op("FULLY_CONNECTED", ("x", "w", "b"), ("y",)),), ("x", "w"), ("y",))
    assert layers_of(graph) == ()
    assert layers_of(graph.replaced(tensors=[constant("w", np.ones((2, 4), np.float32))], inputs=["x"]))[0].axis == 0


def test_fixed_quantizations_are_per_tensor(separable: Any, images: Any) -> None:
    scheme = scheme_of(separable().graph(), images(4))
    assert all(isinstance(found, Quantization) and found.axis is None for found in scheme.fixed.values())


def test_an_open_shape_is_unknown_not_1(net: Any, images: Any) -> None:
    graph = net(shape=(1, 1, 1, 3)).conv("c", 3).graph()
    opened = replace(graph.tensors["x"], open_shape=(-1, -1, -1, 3))
    with pytest.raises(UnsupportedError, match=r"tensor x has the open shape \? x \? x \? x 3, .* --size"):
        scheme_of(graph.replaced(tensors=[opened]), images(2, side=2)[:, :1, :1])
    batch = replace(graph.tensors["x"], open_shape=(-1, 1, 1, 3))
    assert scheme_of(graph.replaced(tensors=[batch]), images(2, side=2)[:, :1, :1]).layers


def test_every_input_has_the_scale_of_its_own_samples(images: Any) -> None:
    tensors = {name: Tensor(name, (1, 8, 8, 3), "float32") for name in ("x", "z", "y")}
    graph = Graph(tensors, (Op("ADD", ("x", "z"), ("y",), {"activation": "NONE"}),), ("x", "z"), ("y",))
    low, high = np.zeros((2, 8, 8, 3), np.float32), np.full((2, 8, 8, 3), 51.0, np.float32)
    scheme = scheme_of(graph, Batch({"x": low + 0.255, "z": high}))
    assert [float(scheme.fixed[name].scale[0]) for name in ("x", "z")] == pytest.approx([0.001, 0.2])
    with pytest.raises(InputError, match=r"the graph has 2 inputs \(x, z\), and one array is given"):
        scheme_of(graph, images(2))
    with pytest.raises(InputError, match=r"the batch has x, and the graph's inputs are x, z"):
        scheme_of(graph, Batch({"x": low}))


def test_a_bias_of_two_dimensions_is_a_bias(separable: Any, images: Any) -> None:
    graph = separable().graph()
    name = next(str(op.inputs[2]) for op in graph.ops if op.kind == "FULLY_CONNECTED")
    bias = graph.tensors[name]
    wide = graph.replaced(tensors=[replace(bias, shape=(1, *bias.shape), data=bias.data[None])])
    for made in (graph, wide):
        assert scheme_of(made, images(4)).graph.tensors[name].shape == bias.shape
