"""The scratch that a kernel states against what its C writes: every kernel, shape and kernel set, with sanitizers.

The input and output of a model of one layer lie outside the arena, so its arena is the scratch of its kernel, to the
byte: a write past it fails under the sanitizers, and what stays unwritten was asked for in vain.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.codegen.emit import Unit
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mnedge.codegen.program import KernelSet

KERNEL_SETS: tuple[KernelSet, ...] = ("portable", "dsp", "mve")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")


@dataclass(frozen=True)
class Shape:
    """One layer.

    Attributes:
        kind: TFLite's name of its op.
        rows: Of the input.
        columns: Of the input.
        channels: Of the input.
        outputs: Output channels; the multiplier of a depthwise layer.
        kernel: Rows and columns of the window.
        stride: In both directions.
        dilation: In both directions.
        padding: "SAME" or "VALID".
        shift: Whether a multiplier shifts to the left, which only the portable kernels can.
        flat: Whether a FULLY_CONNECTED reads the picture as one row, instead of pixel by pixel.
    """

    kind: str
    rows: int
    columns: int
    channels: int
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    dilation: int = 1
    padding: str = "SAME"
    shift: bool = False
    flat: bool = True


def layer(shape: Shape) -> Graph:
    """A graph of one layer with random weights."""
    rng = np.random.default_rng(11)
    x = Tensor("x", (1, shape.rows, shape.columns, shape.channels), "int8", Quantization.per_tensor(0.04, 5))
    if shape.kind == "MEAN":
        y = Tensor("y", (1, shape.channels), "int8", Quantization.per_tensor(0.03, -3))
        axes = constant("axes", np.array([1, 2], np.int32))
        return _graph(Op("MEAN", ("x", "axes"), ("y",), {"keep_dims": False}), x, y, axes)
    dense = shape.kind == "FULLY_CONNECTED"
    depthwise = shape.kind == "DEPTHWISE_CONV_2D"
    pixels = shape.rows * shape.columns
    outputs = shape.channels * shape.outputs if depthwise else shape.outputs
    if dense:
        depth = pixels * shape.channels if shape.flat else shape.channels
        weights: tuple[int, ...] = (outputs, depth)
        axis = 0
        extents: tuple[int, ...] = (1, outputs) if shape.flat else (1, shape.rows, shape.columns, outputs)
        options: dict[str, object] = {"activation": "NONE", "keep_num_dims": not shape.flat}
    else:
        weights, axis = ((1, *shape.kernel, outputs), 3) if depthwise else ((outputs, *shape.kernel, shape.channels), 0)
        sides = zip((shape.rows, shape.columns), shape.kernel, strict=True)
        reaches = [side - (0 if shape.padding == "SAME" else (taps - 1) * shape.dilation) for side, taps in sides]
        extents = (1, *(-(-reach // shape.stride) for reach in reaches), outputs)
        options = {
            "padding": shape.padding, "stride_h": shape.stride, "stride_w": shape.stride, "activation": "NONE",
            "dilation_h_factor": shape.dilation, "dilation_w_factor": shape.dilation,
        }  # fmt: skip
        if depthwise:
            options["depth_multiplier"] = shape.outputs
    taps = int(np.prod(weights)) // outputs
    scales = np.full(outputs, 0.02 / np.sqrt(taps), np.float32)
    scales[0] = 2.0 if shape.shift else scales[0]
    quantization = (
        Quantization.per_channel(scales, axis) if outputs > 1 else Quantization.per_tensor(float(scales[0]), 0)
    )
    data = rng.integers(-127, 128, weights).astype(np.int8)
    bias = constant("bias", rng.integers(-500, 500, outputs).astype(np.int32), Quantization.per_tensor(1e-3, 0))
    y = Tensor("y", extents, "int8", Quantization.per_tensor(0.05, -3))
    return _graph(
        Op(shape.kind, ("x", "weights", "bias"), ("y",), options), x, y, constant("weights", data, quantization), bias
    )


def _graph(op: Op, *tensors: Tensor) -> Graph:
    return Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))


def shapes() -> Iterator[Shape]:
    """Channels that fill every lane, and some that do not; windows, strides, dilations and paddings in all mixes."""
    for channels, outputs in itertools.product((1, 3, 8, 17), (1, 2, 4, 7)):
        yield Shape("FULLY_CONNECTED", 3, 2, channels, outputs)
        yield Shape("FULLY_CONNECTED", 3, 2, channels, outputs, flat=False)
        yield Shape("CONV_2D", 3, 2, channels, outputs)
    # Of 3 by 16 mixes every third: each mix of the last four once, with all channels in turn.
    for channels, outputs, kernel, stride, padding in itertools.islice(
        itertools.product((1, 3, 8), (4, 7), ((3, 3), (1, 5)), (1, 2), ("SAME", "VALID")), 0, None, 3
    ):
        yield Shape("CONV_2D", 7, 9, channels, outputs, kernel, stride, 1, padding)
    for channels, times, kernel, stride, padding in itertools.islice(
        itertools.product((3, 4, 8), (1, 2), ((3, 3), (5, 2)), (1, 3), ("SAME", "VALID")), 0, None, 3
    ):
        yield Shape("DEPTHWISE_CONV_2D", 7, 9, channels, times, kernel, stride, 1, padding)
    for kind, padding in itertools.product(("CONV_2D", "DEPTHWISE_CONV_2D"), ("SAME", "VALID")):
        yield Shape(kind, 7, 9, 8, 1, (3, 3), 1, 2, padding)
        yield Shape(kind, 7, 9, 8, 1, (3, 3), 1, 1, padding, shift=True)
    # Too many channels with a multiplier for any other than the portable kernel.
    yield Shape("DEPTHWISE_CONV_2D", 3, 4, 40, 2, (3, 3))
    for channels in (1, 3, 4, 8, 13):
        yield Shape("MEAN", 5, 4, channels, channels)


def unit_of(number: int, shape: Shape, kernels: KernelSet) -> Unit:
    """The compiled layer."""
    program = lower(layer(shape))
    memory = plan(program, kernels)
    return Unit(f"model{number}", program, memory, kernels, "one layer")


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_a_picture_in_front_of_a_fully_connected_layer_stays_in_the_arena(
    tmp_path: Path, kernels: KernelSet, run_sanitized: Callable, reference: Callable
) -> None:
    shape = Shape("FULLY_CONNECTED", 25, 20, 8, 4)
    images = np.random.default_rng(0).integers(-128, 128, (2, 4000)).astype(np.int8)
    (ran,) = run_sanitized(tmp_path, [(unit_of(0, shape, kernels), images)])
    assert np.array_equal(ran.outputs, reference(layer(shape), images))


@pytest.mark.slow
@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_kernels_write_the_scratch_that_they_state(
    tmp_path: Path, kernels: KernelSet, run_sanitized: Callable, reference: Callable
) -> None:
    drawn = list(shapes())
    units = [unit_of(number, shape, kernels) for number, shape in enumerate(drawn)]
    images = [
        np.random.default_rng(number).integers(-128, 128, (2, unit.input_bytes)).astype(np.int8)
        for number, unit in enumerate(units)
    ]
    variants = set()
    for shape, unit, image, ran in zip(
        drawn, units, images, run_sanitized(tmp_path, list(zip(units, images, strict=True))), strict=True
    ):
        (only,) = unit.program.layers
        stated = only.kernel.scratch_bytes(kernels)
        assert unit.plan.arena_bytes == stated, shape
        # Blocks within the scratch are aligned to 8 bytes.
        assert stated - 8 < ran.touched <= stated, (shape, stated, ran.touched)
        assert np.array_equal(ran.outputs, reference(layer(shape), image)), shape
        variants.add(only.kernel.sources(kernels)[-1])
    own = {"portable_convolution", "portable_depthwise", "mean"}
    if kernels != "portable":
        own |= {f"{kernels}_pointwise", f"{kernels}_patches", f"{kernels}_depthwise"}
    if kernels == "mve":
        own.add("mve_shallow")
    assert variants == own
