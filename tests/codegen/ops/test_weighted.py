"""Layers with weights: what is refused, which kernel takes which channel, and how sums are rounded."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.codegen.emit import Unit
from mnedge.codegen.lower import lower
from mnedge.codegen.ops.convolution import Convolution
from mnedge.codegen.plan import plan
from mnedge.errors import UnsupportedError
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.codegen.program import KernelSet


def _fully_connected(entry: tuple[int, ...], weights: tuple[int, int], output: tuple[int, ...]) -> Graph:
    steps = Quantization.per_tensor(0.05, 0)
    tensors = (
        Tensor("x", entry, "int8", steps),
        constant("weights", np.ones(weights, np.int8), Quantization.per_tensor(0.01, 0)),
        Tensor("y", output, "int8", steps),
    )
    ops = (Op("FULLY_CONNECTED", ("x", "weights"), ("y",), {"activation": "NONE"}),)
    return Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))


@pytest.mark.parametrize(
    ("entry", "weights", "output"),
    [((1, 2, 3, 4), (5, 24), (1, 5)), ((1, 2, 3, 4), (5, 4), (1, 2, 3, 5)), ((1, 24), (5, 24), (1, 5))],
)
def test_rows_of_the_input_are_rows_of_the_weights(
    entry: tuple[int, ...], weights: tuple[int, int], output: tuple[int, ...]
) -> None:
    (layer,) = lower(_fully_connected(entry, weights, output)).layers
    assert isinstance(layer.kernel, Convolution)
    assert layer.kernel.input_channels == weights[1]
    assert layer.kernel.pixels * weights[1] == 24


@pytest.mark.parametrize(
    ("weights", "output"),
    [((5, 25), (1, 5)), ((5, 48), (1, 5)), ((5, 24), (1, 6)), ((5, 4), (1, 5)), ((5, 7), (1, 15))],
)
def test_more_input_or_output_than_the_weights_speak_of_is_refused(
    weights: tuple[int, int], output: tuple[int, ...]
) -> None:
    with pytest.raises(UnsupportedError, match=r"FULLY_CONNECTED .op 0, output y. makes"):
        lower(_fully_connected((1, 2, 3, 4), weights, output))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("kernels", ["portable", "dsp", "mve"])
def test_a_pad_below_and_right_of_a_pointwise_layer_is_no_pixel_of_its_input(
    tmp_path: Path, kernels: KernelSet, run_sanitized: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    steps = Quantization.per_tensor(0.05, 4)
    tensors = (
        Tensor("x", (1, 3, 3, 2), "int8", steps),
        constant("amounts", np.array([[0, 0], [0, 2], [0, 1], [0, 0]], np.int32)),
        Tensor("padded", (1, 5, 4, 2), "int8", steps),
        constant("weights", np.arange(8, dtype=np.int8).reshape(4, 1, 1, 2), Quantization.per_tensor(0.1, 0)),
        constant("bias", np.arange(4, dtype=np.int32), Quantization.per_tensor(0.005, 0)),
        Tensor("y", (1, 5, 4, 4), "int8", Quantization.per_tensor(0.04, -5)),
    )
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
    ops = (Op("PAD", ("x", "amounts"), ("padded",)), Op("CONV_2D", ("padded", "weights", "bias"), ("y",), options))
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))
    program = lower(graph)
    unit = Unit("model0", program, plan(program, kernels), kernels, "padded")
    images = np.random.default_rng(0).integers(-128, 128, (2, 18)).astype(np.int8)
    (ran,) = run_sanitized(tmp_path, [(unit, images)])
    assert np.array_equal(ran.outputs, reference(graph, images))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("kernels", ["portable", "dsp", "mve"])
@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
def test_channels_that_shift_to_the_left_leave_the_others_to_the_fast_kernel(
    tmp_path: Path, kind: str, kernels: KernelSet, run_sanitized: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(4)
    steps = Quantization.per_tensor(0.05, 4)
    scales = rng.uniform(0.002, 0.01, 16).astype(np.float32)
    scales[5] = 1.3  # times 0.05 and over 0.04 is more than 1
    depthwise, flat = kind == "DEPTHWISE_CONV_2D", kind == "FULLY_CONNECTED"
    axis = 3 if depthwise else 0
    shape = (1, 3, 3, 16) if depthwise else (16, 16) if flat else (16, 3, 3, 16)
    tensors = (
        Tensor("x", (1, 16) if flat else (1, 5, 4, 16), "int8", steps),
        constant("weights", rng.integers(-127, 128, shape).astype(np.int8), Quantization.per_channel(scales, axis)),
        constant("bias", rng.integers(-99, 99, 16).astype(np.int32), Quantization.per_channel(scales * 0.05, 0)),
        Tensor("y", (1, 16) if flat else (1, 5, 4, 16), "int8", Quantization.per_tensor(0.04, -5)),
    )
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "activation": "NONE", "depth_multiplier": 1}
    ops = (Op(kind, ("x", "weights", "bias"), ("y",), {"activation": "NONE"} if flat else options),)
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))
    program = lower(graph)
    (layer,) = program.layers
    assert ("some_channels" in layer.kernel.sources(kernels)) is (kernels != "portable")
    unit = Unit("model0", program, plan(program, kernels), kernels, "slow")
    images = rng.integers(-128, 128, (2, unit.input_bytes)).astype(np.int8)
    (ran,) = run_sanitized(tmp_path, [(unit, images)])
    assert np.array_equal(ran.outputs, reference(graph, images))


def _rows(weight: int, x: float, weights: float, y: float, channels: int = 16) -> Graph:
    """A FULLY_CONNECTED of rows of one step, each of which every channel multiplies by `weight`."""
    tensors = (
        Tensor("x", (255, 1), "int8", Quantization.per_tensor(x, 0)),
        constant("weights", np.full((channels, 1), weight, np.int8), Quantization.per_tensor(weights, 0)),
        Tensor("y", (255, channels), "int8", Quantization.per_tensor(y, 0)),
    )
    ops = (Op("FULLY_CONNECTED", ("x", "weights"), ("y",), {"activation": "NONE"}),)
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("x",), ("y",))
    return graph.replaced(tensors=[Tensor("x", (1, 255, 1), "int8", Quantization.per_tensor(x, 0)),
                                   Tensor("y", (1, 255, channels), "int8", Quantization.per_tensor(y, 0))])  # fmt: skip


# Ties of negatives go away from zero: scales in powers of two meet them.
POWERS = [(1, (0.5, 1.0, 1.0)), (3, (0.5, 0.5, 2.0))]
# In float32 the product of the scales makes 13 of 18 * 108, where LiteRT has 12.499999 in float64.
NEAR_A_TIE = (108, (0.02548028901219368, 0.08592705428600311, 0.34050267934799194))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_fully_connected_layers_round_as_litert_does_in_float64(
    tmp_path: Path, run_sanitized: Callable[..., Any], reference: Callable[..., Any]
) -> None:
    images = np.arange(-127, 128, dtype=np.int8)[None]
    units: list[tuple[Unit, np.ndarray]] = []
    expected = []
    for weight, scales in (*POWERS, NEAR_A_TIE):
        graph = _rows(weight, *scales)
        program = lower(graph)
        for kernels in ("portable", "dsp", "mve"):
            units.append((Unit(f"model{len(units)}", program, plan(program, kernels), kernels, "rows"), images))
            expected.append(reference(graph, images))
    for (unit, _), right, ran in zip(units, expected, run_sanitized(tmp_path, units), strict=True):
        assert np.array_equal(ran.outputs, right), (unit.name, unit.kernels)
