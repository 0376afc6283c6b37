"""From chosen ranges and weights to an int8 graph that runtimes take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnedge.graph.executor import predict, simulate
from mnedge.graph.precision import float_ops
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.calibrate import observe
from mnedge.quantization.parameters import (
    activation_quantizations,
    bounded_weight_scale,
    initial_parameters,
    largest_weight_scale,
    legal_weight_scale,
    to_int8,
    weight_quantization,
)
from mnedge.quantization.ranges import choose_ranges
from mnedge.quantization.scheme import scheme_of

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Quantization


def chosen(graph: Any, images: Any, **options: Any) -> Any:
    scheme = scheme_of(graph, images, pixels=SYMMETRIC, **options)
    return scheme, initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images), "min-max"))


def _quantization(graph: Graph, name: str) -> Quantization:
    found = graph.tensors[name].quantization
    assert found is not None, name
    return found


@pytest.fixture(scope="module")
def residual(separable: Any, images: Any) -> Any:
    return chosen(separable().graph(), images(4))


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_weight_scales_reach_to_the_largest_weight(separable: Any, images: Any, granularity: Any) -> None:
    scheme = scheme_of(separable().graph(), images(2), granularity)
    for layer in scheme.layers:
        weights = scheme.graph.tensors[layer.weights].real()
        scales = largest_weight_scale(scheme, layer, weights)
        rows = np.moveaxis(weights, layer.axis, 0).reshape(weights.shape[layer.axis], -1)
        assert scales.shape == ((len(rows),) if granularity == "per-channel" else (1,))
        reach = np.abs(rows).max(1) if granularity == "per-channel" else np.abs(rows).max()
        np.testing.assert_allclose(scales * 127, np.atleast_1d(reach), rtol=1e-6)
        assert weight_quantization(layer, scales).axis == (layer.axis if granularity == "per-channel" else None)


def test_a_dead_channel_gets_a_scale(net: Any, images: Any) -> None:
    weights = np.ones((3, 1, 1, 3))
    weights[1] = 0
    scheme = scheme_of(net().conv("c", 3, kernel=1, weights=weights).graph(), images(2))
    scales = largest_weight_scale(scheme, scheme.layers[0], weights.astype(np.float32))
    np.testing.assert_allclose(scales, np.array([1, 1e-3, 1]) / 127, rtol=1e-6)


@pytest.mark.parametrize("granularity", ["per-channel", "per-tensor"])
def test_the_int8_graph_keeps_tflites_rules(separable: Any, images: Any, granularity: Any) -> None:
    scheme, parameters = chosen(separable().graph(), images(8), granularity=granularity)
    int8 = to_int8(scheme, parameters)
    int8.check()
    assert float_ops(int8) == []
    assert [tensor.dtype for tensor in map(int8.tensors.__getitem__, (*int8.inputs, *int8.outputs))] == ["int8"] * 2
    for layer in scheme.layers:
        weights, bias = int8.tensors[layer.weights], int8.tensors[layer.bias]
        data, fine, sums = (_quantization(int8, name) for name in (layer.data, layer.weights, layer.bias))
        assert (weights.dtype, bias.dtype) == ("int8", "int32")
        assert weights.data is not None
        assert weights.data.min() >= -127
        assert not fine.zero_point.any()
        assert not sums.zero_point.any()
        np.testing.assert_allclose(sums.scale, fine.scale * data.scale, rtol=1e-6)
        np.testing.assert_allclose(bias.real(), parameters.biases[layer.bias], atol=float(sums.scale.max()))
    for name, group in scheme.group.items():
        own, shared = _quantization(int8, name), _quantization(int8, group)
        assert own.scale == shared.scale
        assert own.zero_point == shared.zero_point


def test_litert_computes_what_was_meant(separable: Any, images: Any, litert: Any) -> None:
    graph = separable().graph("wide")
    scheme, parameters = chosen(graph, images(16))
    int8 = to_int8(scheme, parameters)
    step = float(_quantization(int8, "wide").scale[0])
    simulated = predict(int8, images(6, 5), on_tensor=simulate(int8))
    off = np.abs(litert(int8, images(6, 5)) - simulated) / step
    # Halves may be rounded the other way in each of five layers.
    assert off.max() <= 3.01
    assert off.mean() < 0.1
    assert np.corrcoef(simulated.ravel(), predict(graph, images(6, 5)).ravel())[0, 1] > 0.995


def test_weights_on_their_grid_are_shipped_as_they_are(separable: Any, images: Any) -> None:
    scheme, parameters = chosen(separable().graph(), images(4))
    random = np.random.default_rng(0)
    steps, weights = {}, {}
    for layer in scheme.layers:
        shape = parameters.weights[layer.weights].shape
        steps[layer.weights] = random.integers(-127, 128, shape).astype(np.int8)
        quantization = weight_quantization(layer, parameters.weight_scales[layer.weights])
        weights[layer.weights] = quantization.dequantize(steps[layer.weights])
    int8 = to_int8(scheme, replace(parameters, weights=weights))
    for name, expected in steps.items():
        found = int8.tensors[name].data
        assert found is not None
        assert np.array_equal(found, expected)


def test_a_bias_never_leaves_int32(net: Any, images: Any) -> None:
    scheme, parameters = chosen(net().conv("c", 2, kernel=1, activation="NONE", weights=np.full(6, 1e-9),
                                           bias=[1e6, 0.0]).graph(), images(4))  # fmt: skip
    int8 = to_int8(scheme, parameters)
    bias = int8.tensors["c/b"].data
    assert bias is not None
    assert bias.max() <= 2**30
    np.testing.assert_allclose(int8.tensors["c/b"].real(), [1e6, 0.0], rtol=1e-6, atol=1e-3)
    scales = legal_weight_scale(scheme.layers[0], parameters, 1 / 127.5)
    assert scales[0] > scales[1] == parameters.weight_scales["c/w"][1]


def _ratios(scheme: Any, parameters: Any) -> list[float]:
    """input scale x weight scale / output scale of each layer: XNNPACK takes less than 256."""
    found = activation_quantizations(scheme, parameters)
    scale = {name: float(found[group].scale[0]) for name, group in scheme.group.items()}
    return [
        scale[layer.data] * float(parameters.weight_scales[layer.weights].max()) / scale[layer.output]
        for layer in scheme.layers
    ]


def test_a_tensor_that_is_all_but_zero_gets_a_scale_that_xnnpack_takes(net: Any, images: Any, litert: Any) -> None:
    dead = net().conv("c", 3, weights=np.ones((3, 3, 3, 3)), bias=[-1e4] * 3).conv("d", 2)
    scheme, parameters = chosen(dead.graph(), images(4))
    assert max(_ratios(scheme, parameters)) < 256
    int8 = to_int8(scheme, parameters)
    np.testing.assert_array_equal(litert(int8, images(2), delegate=True), litert(int8, images(2)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.floats(-14, 4), min_size=6, max_size=6))
def test_scales_are_only_raised_and_ratios_hold(residual: Any, powers: list[float]) -> None:
    """Whatever ranges are asked for: multipliers stay below 256, and ADD's scales within 2^9 of each other."""
    scheme, parameters = residual
    wild = {name: (-(10.0**power), 10.0**power) for name, power in zip(scheme.free_groups, powers, strict=False)}
    parameters = replace(parameters, ranges={**parameters.ranges, **wild})
    found = activation_quantizations(scheme, parameters)
    assert max(_ratios(scheme, parameters)) < 256
    for name, (low, high) in wild.items():
        assert float(found[name].scale[0]) >= np.float32((high - low) / 255) * (1 - 1e-6)
    addition = next(op for op in scheme.graph.ops if op.kind == "ADD")
    made = float(found[scheme.group["sum"]].scale[0])
    for name in addition.inputs:
        assert 2.0**-9 * 0.999 <= float(found[scheme.group[str(name)]].scale[0]) / made < 256


def test_allowed_float_ops_get_conversions_around_them(net: Any, images: Any, litert: Any) -> None:
    odd = net().conv("c", 3).op("EXP", "e", ("c",), (1, 8, 8, 3)).conv("d", 2, activation="NONE")
    scheme, parameters = chosen(odd.graph(), images(8), allow_float=frozenset({"EXP"}))
    int8 = to_int8(scheme, parameters)
    int8.check()
    assert [op.kind for op in int8.ops] == ["CONV_2D", "DEQUANTIZE", "EXP", "QUANTIZE", "CONV_2D"]
    assert [op.kind for op in float_ops(int8)] == ["DEQUANTIZE", "EXP", "QUANTIZE"]
    exact = predict(odd.graph(), images(2, 3))
    assert np.abs(litert(int8, images(2, 3)) - exact).mean() < 0.05 * np.abs(exact).mean()


def test_a_step_of_4_bit_weights_stays_below_what_xnnpack_refuses() -> None:
    scales = np.array([0.01, 56.6], np.float32)
    bounded = bounded_weight_scale(scales, 0.0956, 0.00525)
    assert bounded[0] == scales[0]
    assert 0.0956 * float(bounded[1]) / 0.00525 == pytest.approx(255.0)
