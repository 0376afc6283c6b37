"""What layers read at single pixels, against whole convolutions in TensorFlow."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from mnedge.graph.executor import compiled
from mnedge.graph.graph import Quantization
from mnedge.quantization.pixels import draw_pixels, float_targets, in_blocks, in_layout, outputs_of, problem_of
from mnedge.quantization.scheme import scheme_of

_PIXEL = Quantization.per_tensor(1 / 127.5, -1)


def steps_of(images: np.ndarray) -> Any:
    return (np.round((images + 1) * 127.5) - 128).astype(np.int8)


@pytest.mark.parametrize(
    ("padding", "stride", "dilation", "kernel"),
    # TensorFlow has no depthwise convolution with both a stride and a dilation.
    [*product(("SAME", "VALID"), (1, 2), (1,), (1, 3)), ("SAME", 1, 2, 3), ("VALID", 1, 2, 3), ("SAME", 3, 1, 2)],
)
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_the_outputs_of_a_problem_are_those_of_the_convolution(
    net: Any, images: Any, kind: str, padding: str, stride: int, dilation: int, kernel: int
) -> None:
    made, depthwise = net(shape=(1, 9, 8, 3)), kind == "DEPTHWISE_CONV_2D"
    shape = (1, kernel, kernel, 6) if depthwise else (5, kernel, kernel, 3)
    weights = made.constant("w", made.rng.normal(0, 0.4, shape).astype(np.float32))
    bias = made.constant("b", made.rng.normal(0, 1, shape[3] if depthwise else shape[0]).astype(np.float32))
    reach = (kernel - 1) * dilation
    height, width = (-(-(side if padding == "SAME" else side - reach) // stride) for side in (9, 8))
    options = {"padding": padding, "stride_h": stride, "stride_w": stride, "activation": "NONE"}
    options |= {"dilation_h_factor": dilation, "dilation_w_factor": dilation}
    options |= {"depth_multiplier": 2} if depthwise else {}
    made.op(kind, "c", ("x", weights, bias), (1, height, width, 6 if depthwise else 5), **options)
    pictures = images(4, side=10)[:, :9, :8]
    scheme = scheme_of(made.graph(), pictures)
    layer = scheme.layers[0]
    drawn = draw_pixels(scheme, 4, 40, seed=1)["c"]
    assert drawn.shape == (4, min(height * width, 3 if depthwise else 20))
    whole = compiled(scheme.graph, ("c",))(pictures)[0].reshape(4, height * width, -1)
    exact = np.concatenate([rows[pixels] for rows, pixels in zip(whole, drawn, strict=True)])
    problem = problem_of(scheme, layer, steps_of(pictures), _PIXEL, drawn, exact)
    found = outputs_of(problem, problem.weights) + problem.bias[:, None, :]
    np.testing.assert_allclose(found, problem.targets, atol=0.02)
    np.testing.assert_allclose(problem.targets.transpose(1, 0, 2).reshape(exact.shape), exact)


def test_a_dense_layer_reads_its_whole_row(separable: Any, images: Any) -> None:
    scheme = scheme_of(separable().graph(), images(6))
    layer = scheme.layers[-1]
    drawn = draw_pixels(scheme, 6, 100, seed=0)
    mean, exact = compiled(scheme.graph, (layer.data, layer.output))(images(6))
    scale = float(np.abs(mean).max() / 127)
    steps = np.round(mean / scale).astype(np.int8)
    quantization = Quantization.per_tensor(scale, 0)
    problem = problem_of(scheme, layer, steps, quantization, drawn[layer.output], exact)
    np.testing.assert_allclose(problem.inputs[0], steps * np.float32(scale), rtol=1e-5)
    np.testing.assert_allclose(problem.targets[0], exact)


def test_float_targets_are_the_layers_outputs(separable: Any, images: Any) -> None:
    scheme = scheme_of(separable().graph(), images(5))
    drawn = draw_pixels(scheme, 5, 30, seed=2)
    found = float_targets(scheme, images(5), drawn)
    whole = dict(zip(drawn, compiled(scheme.graph, list(drawn))(images(5)), strict=True))
    for name, rows in found.items():
        flat = whole[name].reshape(5, -1, whole[name].shape[-1])
        expected = np.concatenate([picture[pixels] for picture, pixels in zip(flat, drawn[name], strict=True)])
        np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_pixels_are_drawn_once_each_and_by_the_seed(separable: Any, images: Any) -> None:
    scheme = scheme_of(separable().graph(), images(5))
    one, same, other = (draw_pixels(scheme, 5, 20, seed)["stem"] for seed in (0, 0, 1))
    # A narrow layer: twice as many as were asked for.
    assert one.shape == (5, 8)
    assert all(len(set(row)) == 8 for row in one.tolist())
    assert one.min() >= 0
    assert one.max() < 16
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_blocks_go_back_into_the_layout(separable: Any, images: Any) -> None:
    scheme = scheme_of(separable().graph(), images(2))
    for layer in scheme.layers:
        weights = scheme.graph.tensors[layer.weights].real()
        assert np.array_equal(in_layout(layer, in_blocks(layer, weights), weights.shape), weights)


def test_only_what_the_interval_keeps_counts(net: Any, images: Any) -> None:
    scheme = scheme_of(net().conv("c", 4, activation="RELU6", bias=[9.0, -9, 3, 0]).graph(), images(3))
    drawn = draw_pixels(scheme, 3, 60, seed=0)
    targets = float_targets(scheme, images(3), drawn)["c"]
    problem = problem_of(scheme, scheme.layers[0], steps_of(images(3)), _PIXEL, drawn["c"], targets)
    assert [float(end) for end in problem.interval] == [0.0, 6.0]
    assert problem.targets.min() >= 0
    assert problem.targets.max() == 6
    part = problem.part(slice(None), slice(1, 3))
    np.testing.assert_array_equal(part.targets, problem.targets[:, :, 1:3])
    np.testing.assert_array_equal(part.bias, problem.bias[:, 1:3])
