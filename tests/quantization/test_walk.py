"""The walk through the quantized network: what each layer is shown is what LiteRT computes before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.graph.executor import compiled
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.graph.heads import snr_db
from mnedge.quantization.calibrate import observe
from mnedge.quantization.interpret import all_outputs, first_output, interpret
from mnedge.quantization.parameters import initial_parameters, to_int8
from mnedge.quantization.pixels import draw_pixels, outputs_of
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.quantization.ranges import choose_ranges
from mnedge.quantization.scheme import scheme_of
from mnedge.quantization.walk import settle_layers

if TYPE_CHECKING:
    from mnedge.choices import Effort


def start(graph: Any, images: np.ndarray) -> Any:
    scheme = scheme_of(graph, images)
    return scheme, initial_parameters(scheme, choose_ranges(scheme, observe(scheme, images), "min-max"))


def test_layers_come_in_order_with_what_int8_gives_them(separable: Any, images: Any) -> None:
    scheme, parameters = start(separable().graph(), images(6))
    shown: dict[str, Any] = {}

    def settle(layer: Any, problem: Any, now: Any) -> Any:
        shown[layer.output] = problem
        return now

    told: list[float] = []
    after = settle_layers(scheme, parameters, images(6), settle, rows=40, seed=3, progress=told.append)
    assert list(shown) == [layer.output for layer in scheme.layers]
    assert told == sorted(told)
    assert told[-1] == 1.0
    for name, bias in parameters.biases.items():
        assert np.array_equal(after.biases[name], bias)
    int8 = to_int8(scheme, parameters)
    drawn = draw_pixels(scheme, 6, 40, seed=3)
    exact = dict(zip(drawn, compiled(scheme.graph, list(drawn))(images(6)), strict=True))
    for layer in scheme.layers[1:]:
        # The layer's real outputs on those inputs are close to what the whole int8 network makes there.
        made = interpret(int8.replaced(outputs=[layer.output]), images(6), lambda _, outputs: outputs[0].copy())
        quantization = int8.tensors[layer.output].quantization
        assert quantization is not None
        real = quantization.dequantize(np.concatenate(made)).reshape(6, -1, exact[layer.output].shape[-1])
        expected = np.concatenate([rows[pixels] for rows, pixels in zip(real, drawn[layer.output], strict=True)])
        problem = shown[layer.output]
        outputs = outputs_of(problem, problem.weights) + problem.bias[:, None, :]
        found = np.clip(outputs, *problem.interval).transpose(1, 0, 2).reshape(expected.shape)
        # Weights were rounded in the one and not in the other: a few steps.
        assert np.abs(found - expected).max() < 8 * float(quantization.scale[0]), layer.output


def test_a_layer_sees_what_was_settled_before_it(separable: Any, images: Any) -> None:
    scheme, parameters = start(separable().graph(), images(6))
    second = scheme.layers[1]
    seen = []
    for shift in (0.0, 0.5):

        def settle(layer: Any, problem: Any, now: Any, shift: float = shift) -> Any:
            if layer is second:
                seen.append(problem.inputs.mean())
            return now._replace(bias=now.bias + np.float32(shift)) if layer is scheme.layers[0] else now

        settle_layers(scheme, parameters, images(6), settle, rows=60, seed=0)
    assert seen[1] > seen[0] + 0.05


@pytest.mark.parametrize("shared", [False, True])
def test_a_block_is_settled_on_what_its_sum_lacks(net: Any, images: Any, shared: bool) -> None:
    """A shift on the way around a block is taken back at its end, unless others read that end too."""
    made = net().conv("stem", 4, activation="NONE").conv("deep", 6).conv("point", 4, kernel=1, activation="NONE")
    graph = made.add("sum", "stem").graph(*(("sum", "point") if shared else ("sum",)))
    scheme, parameters = start(graph, images(16))
    parameters.biases["stem/b"][:] += [0.3, 0.0, -0.3, 0.1]

    def settle(layer: Any, problem: Any, now: Any) -> Any:
        lacking = problem.targets - outputs_of(problem, problem.weights) - problem.bias[:, None, :]
        shift = lacking.mean(axis=1).reshape(-1).astype(np.float32)
        return now._replace(bias=now.bias + shift) if layer.output == "point" else now

    after = settle_layers(scheme, parameters, images(16), settle, rows=4000, seed=0)
    exact, quantized = all_outputs(scheme.graph, images(16)), all_outputs(to_int8(scheme, after), images(16))
    shift = (quantized["sum"] - exact["sum"]).mean(axis=(0, 1, 2))
    if shared:
        np.testing.assert_allclose(shift, [0.3, 0.0, -0.3, 0.1], atol=0.05)
        np.testing.assert_allclose((quantized["point"] - exact["point"]).mean(axis=(0, 1, 2)), 0.0, atol=0.02)
    else:
        np.testing.assert_allclose(shift, 0.0, atol=0.02)


def test_a_transposed_convolution_gets_its_mean_back(net: Any, images: Any) -> None:
    made = net().conv("c", 4)
    shape = made.constant("shape", np.array([1, 16, 16, 3], np.int32))
    weights = made.constant("w", made.rng.normal(0, 0.3, (3, 3, 3, 4)).astype(np.float32))
    bias = made.constant("b", np.zeros(3, np.float32))
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "activation": "NONE"}
    made.op("TRANSPOSE_CONV", "up", (shape, weights, "c", bias), (1, 16, 16, 3), **options)
    scheme, parameters = start(made.graph(), images(8))
    parameters.biases["b"][:] = [0.7, 0.0, -0.4]
    after = settle_layers(scheme, parameters, images(8), lambda _, __, now: now, rows=4000, seed=0)
    np.testing.assert_allclose(after.biases["b"], 0.0, atol=0.05)


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_a_dense_layer_over_the_pixels_of_a_picture_is_settled_row_by_row(effort: Effort) -> None:
    rng = np.random.default_rng(4)
    tensors = [
        Tensor("image", (1, 4, 4, 3), "float32"),
        constant("kernel", rng.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32)),
        constant("kernel_bias", rng.normal(0, 0.2, 8).astype(np.float32)),
        Tensor("map", (1, 4, 4, 8), "float32"),
        constant("flat", np.array([16, 8], np.int32)),
        Tensor("rows", (16, 8), "float32"),
        constant("dense", rng.normal(0, 0.4, (5, 8)).astype(np.float32)),
        constant("dense_bias", rng.normal(0, 0.2, 5).astype(np.float32)),
        Tensor("mixed", (16, 5), "float32"),
        constant("back", np.array([1, 4, 4, 5], np.int32)),
        Tensor("wide", (1, 4, 4, 5), "float32"),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("scores", (1, 5), "float32"),
    ]
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "RELU"}
    options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
    ops = (
        Op("CONV_2D", ("image", "kernel", "kernel_bias"), ("map",), options),
        Op("RESHAPE", ("map", "flat"), ("rows",)),
        Op("FULLY_CONNECTED", ("rows", "dense", "dense_bias"), ("mixed",), {"activation": "NONE"}),
        Op("RESHAPE", ("mixed", "back"), ("wide",)),
        Op("MEAN", ("wide", "axes"), ("scores",), {"keep_dims": False}),
    )
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("scores",))
    pictures = rng.uniform(-1, 1, (24, 4, 4, 3)).astype(np.float32)
    int8 = quantize_ptq(graph, pictures, PostTraining(effort=effort)).graph
    float_scores, made = first_output(graph, pictures), first_output(int8, pictures)
    noise = snr_db(float_scores, made)
    assert noise is not None
    assert noise > 30
