"""Samples of layer inputs and outputs at a few pixels per picture, for layer-wise fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.quantization.interpret import interpret
from mnedge.quantization.intervals import made_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph, Quantization
    from mnedge.quantization.intervals import Interval
    from mnedge.quantization.scheme import Layer, Scheme
    from mnedge.untyped import AnyArray, AnyFloats

# A channel of a depthwise layer has nine unknowns, any other output up to a thousand.
_DEPTHWISE_SHARE = 4
# Narrow layers get up to so many times the rows: as long as a row costs a share of what it costs in wide ones.
_MOST_TIMES = 2
_WIDE = 1000


@dataclass(frozen=True, eq=False)
class Problem:
    """Least squares of one layer; a full convolution has one block, a depthwise one a block for each channel.

    Attributes:
        inputs: (blocks, rows, taps) what the quantized network gives the layer.
        targets: (blocks, rows, outputs) what the float layer makes, clipped to the interval.
        weights: (blocks, outputs, taps) the float weights.
        bias: (blocks, outputs).
        interval: Outside, outputs do not matter: the activation, or what reads it, clips there.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    interval: Interval

    def part(self, blocks: slice, outputs: slice) -> Problem:
        """Selects blocks or outputs that do not depend on the others."""
        return Problem(
            self.inputs[blocks],
            self.targets[blocks, :, outputs],
            self.weights[blocks, outputs],
            self.bias[blocks, outputs],
            self.interval,
        )


def draw_pixels(scheme: Scheme, images: int, rows: int, seed: int) -> dict[str, NDArray[np.intp]]:
    """Pixels of every layer's output, (images, pixels of an image) in rising order, by the output's name.

    Args:
        scheme: Quantization scheme of the graph.
        images: Number of images.
        rows: Pixels of a wide layer, over all images; narrow ones get up to twice as many, and depthwise ones
            a quarter of them.
        seed: Seed of the choice.
    """
    random = np.random.default_rng(seed)
    drawn = {}
    for layer in scheme.layers:
        shape = scheme.graph.tensors[layer.output].shape
        pixels = int(np.prod(shape)) // shape[-1]
        weights = scheme.graph.tensors[layer.weights].shape
        if layer.op.kind == "DEPTHWISE_CONV_2D":
            wanted = rows // _DEPTHWISE_SHARE
        else:
            width = weights[layer.axis] + int(np.prod(weights)) // weights[layer.axis]
            wanted = int(rows * np.clip(_WIDE / width, 1, _MOST_TIMES))
        count = min(pixels, -(-wanted // images))
        chances = random.random((images, pixels), np.float32)
        drawn[layer.output] = np.sort(np.argpartition(chances, count - 1, axis=1)[:, :count], axis=1)
    return drawn


def float_targets(
    scheme: Scheme, images: Samples, drawn: Mapping[str, NDArray[np.intp]]
) -> dict[str, NDArray[np.float32]]:
    """(rows, outputs) of every layer of the float network at the drawn pixels, by the output's name."""
    names = list(drawn)
    channels = {name: scheme.graph.tensors[name].shape[-1] for name in names}
    picked = {name: np.empty((*drawn[name].shape, channels[name]), np.float32) for name in names}

    def pick(number: int, outputs: list[NDArray[np.float32]]) -> None:
        for name, made in zip(names, outputs, strict=True):
            np.take(made.reshape(-1, made.shape[-1]), drawn[name][number], axis=0, out=picked[name][number])

    interpret(scheme.graph.replaced(outputs=names), images, pick)
    return {name: rows.reshape(-1, rows.shape[-1]) for name, rows in picked.items()}


def problem_of(
    scheme: Scheme,
    layer: Layer,
    data: AnyArray,
    quantization: Quantization,
    drawn: NDArray[np.intp],
    targets: NDArray[np.float32],
) -> Problem:
    """The least squares of a layer.

    Args:
        scheme: Quantization scheme of the graph.
        layer: A layer whose taps can be told (`has_taps`).
        data: (N, …) the steps that the quantized network gives it.
        quantization: Quantization of the steps.
        drawn: See `draw_pixels`.
        targets: See `float_targets`.
    """
    weights = scheme.graph.tensors[layer.weights].real().astype(np.float64)
    bias = scheme.graph.tensors[layer.bias].real().astype(np.float64)
    taps = _taps(scheme.graph, layer, data, int(quantization.zero_point[0]), drawn)
    bounds, activation = scheme.bounds[scheme.group[layer.output]], made_interval(layer.op)
    interval = (max(bounds[0], activation[0]), min(bounds[1], activation[1]))
    targets = np.clip(targets, *interval)
    blocks = in_blocks(layer, weights)
    if layer.op.kind != "DEPTHWISE_CONV_2D":
        inputs = _real(taps, quantization).reshape(1, len(targets), -1)
        return Problem(inputs, targets[None], blocks, bias[None, :], interval)
    # Rows lie side by side in memory, for sums over them.
    by_channel = np.ascontiguousarray(taps.transpose(2, 1, 0))
    if (multiplier := weights.shape[3] // len(by_channel)) > 1:
        by_channel = np.repeat(by_channel, multiplier, axis=0)
    inputs = _real(by_channel, quantization).transpose(0, 2, 1)
    return Problem(inputs, np.ascontiguousarray(targets.T)[:, :, None], blocks, bias[:, None], interval)


def in_blocks(layer: Layer, weights: AnyFloats) -> AnyArray:
    """(blocks, outputs, taps): weights in an op's layout as a `Problem` has them."""
    if layer.op.kind == "DEPTHWISE_CONV_2D":
        return weights.reshape(-1, weights.shape[3]).T[:, None, :]
    return np.moveaxis(weights, layer.axis, 0).reshape(1, weights.shape[layer.axis], -1)


def in_layout(layer: Layer, blocks: AnyFloats, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights (blocks, outputs, taps) in an op's layout, whose shape is given."""
    if layer.op.kind == "DEPTHWISE_CONV_2D":
        return np.ascontiguousarray(blocks[:, 0, :].T.reshape(shape), np.float32)
    first = (shape[layer.axis], *(extent for axis, extent in enumerate(shape) if axis != layer.axis))
    return np.ascontiguousarray(np.moveaxis(blocks[0].reshape(first), 0, layer.axis), np.float32)


def outputs_of(problem: Problem, weights: AnyFloats) -> NDArray[np.float32]:
    """(blocks, rows, outputs) what weights (blocks, outputs, taps) make, without bias and not yet clipped."""
    return np.asarray(np.matmul(problem.inputs, weights.astype(np.float32).transpose(0, 2, 1)))


def mean_products(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """(blocks, n, m) mean over the rows of the products of (blocks, rows, n) and (blocks, rows, m)."""
    if one is other and len(one) == 1:
        # Seen as the square that it is, half of it is computed.
        return np.asarray((one[0].T @ one[0]).astype(np.float64)[None] / one.shape[1])
    return np.asarray(np.matmul(one.transpose(0, 2, 1), other).astype(np.float64) / one.shape[1])


def has_taps(graph: Graph, layer: Layer) -> bool:
    """Returns whether the inputs of each output pixel are known.

    They are not for a transposed convolution, nor for a convolution of several maps of one picture.
    """
    if layer.op.kind == "FULLY_CONNECTED":
        return True
    return layer.op.kind != "TRANSPOSE_CONV" and graph.tensors[layer.data].shape[0] == 1


def _taps(graph: Graph, layer: Layer, data: AnyArray, zero_point: int, drawn: NDArray[np.intp]) -> AnyArray:
    """Returns the steps that the drawn output pixels read, (rows, taps, channels); the zero point beyond the edges."""
    depth = graph.tensors[layer.weights].shape[-1] if layer.op.kind == "FULLY_CONNECTED" else data.shape[-1]
    flat = data.reshape(len(data), -1, depth)
    if layer.op.kind == "FULLY_CONNECTED":
        places, inside = drawn[:, :, None], None
    else:
        places, inside = _places(graph, layer, data.shape[1:3], drawn)
    picture = np.arange(len(data))[:, None, None] * flat.shape[1]
    steps = np.take(flat.reshape(-1, depth), picture + places, axis=0)
    if inside is not None:
        steps[~inside] = zero_point
    return steps.reshape(-1, *steps.shape[2:])


def _real(steps: AnyArray, quantization: Quantization) -> NDArray[np.float32]:
    """Real values of steps of any shape."""
    real = steps.astype(np.float32)
    real -= np.float32(quantization.zero_point[0])
    real *= quantization.scale[0]
    return real


def _places(
    graph: Graph, layer: Layer, extent: tuple[int, ...], drawn: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.bool_] | None]:
    """Flat input pixels (N, pixels, taps) that output pixels of a convolution read, and which of them exist."""
    options, kernel = layer.op.options, graph.tensors[layer.weights].shape[1:3]
    made = graph.tensors[layer.output].shape[1:3]
    axes = []
    for axis, side in enumerate("hw"):
        stride, dilation = options[f"stride_{side}"], options.get(f"dilation_{side}_factor", 1)
        reach = (kernel[axis] - 1) * dilation + 1
        missing = max((made[axis] - 1) * stride + reach - extent[axis], 0)
        before = missing // 2 if options["padding"] == "SAME" else 0
        pixel = drawn // made[1] if axis == 0 else drawn % made[1]
        axes.append(pixel[:, :, None] * stride - before + np.arange(kernel[axis]) * dilation)
    rows, columns = axes[0][:, :, :, None], axes[1][:, :, None, :]
    inside = (rows >= 0) & (rows < extent[0]) & (columns >= 0) & (columns < extent[1])
    places = np.clip(rows, 0, extent[0] - 1) * extent[1] + np.clip(columns, 0, extent[1] - 1)
    shape = (*drawn.shape, kernel[0] * kernel[1])
    return places.reshape(shape), None if inside.all() else inside.reshape(shape)
