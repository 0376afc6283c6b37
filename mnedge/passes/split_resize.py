"""RESIZE_BILINEAR of few channels: columns by a convolution, rows by a resize of one wide column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph

# From there on a resize fills the vector units by itself, and the convolution's work grows with the square.
_MOST_CHANNELS = 7
# Factors by which networks enlarge. LiteRT's own int8 kernel is steps off real numbers elsewhere.
_FACTORS = (2, 4, 8, 16, 32)


def apply(graph: Graph) -> Graph:
    """Rewrites int8 RESIZE_BILINEAR by powers of two where the channels are too few for the runtime's vectors.

    Bilinear interpolation is separable. Along the columns it is a 1 x 3 convolution that makes all the new columns
    between two old ones at once, as channels; its weights are whole numbers of 1 / (2 factor), so int8 holds them
    exactly. A row of the result is then one run of bytes, and along the rows a RESIZE_BILINEAR of height x 1 pixels
    with as many channels interpolates whole rows. It differs by a step at most, for it is rounded twice. LiteRT's
    XNNPACK takes three channels for one vector of sixteen, which made this op a sixth of a segmentation network's time.
    """
    for op in graph.ops:
        if op.kind == "RESIZE_BILINEAR" and _applies(graph, op):
            graph = _rewritten(graph, op)
    return graph


def _applies(graph: Graph, op: Op) -> bool:
    source, result = graph.tensors[str(op.inputs[0])], graph.tensors[op.outputs[0]]
    width, channels = source.shape[2:]
    factor, rest = divmod(result.shape[2], width)
    return (
        source.dtype == "int8"
        and not source.is_open
        and channels <= _MOST_CHANNELS
        and bool(op.options.get("half_pixel_centers"))
        and not op.options.get("align_corners")
        and rest == 0
        and factor in _FACTORS
    )


def _kernel(factor: int, channels: int) -> NDArray[np.int8]:
    """OHWI (factor * channels, 1, 3, channels) in steps of 1 / (2 factor): column by column, its channels innermost."""
    kernel = np.zeros((factor, channels, 1, 3, channels), np.int8)
    for column in range(factor):
        # Twice the distance, in new columns, between the middles of the new column and of the old one it lies in.
        offset = 2 * column + 1 - factor
        for channel in range(channels):
            kernel[column, channel, 0, 1, channel] = 2 * factor - abs(offset)
            kernel[column, channel, 0, 1 + int(np.sign(offset)), channel] += abs(offset)
    return kernel.reshape(factor * channels, 1, 3, channels)


def _rewritten(graph: Graph, op: Op) -> Graph:
    source, result = graph.tensors[str(op.inputs[0])], graph.tensors[op.outputs[0]]
    assert source.quantization is not None
    batch, height, width, channels = source.shape
    factor = result.shape[2] // width
    tensors: list[Tensor] = []

    def made(part: str, shape: tuple[int, ...]) -> str:
        tensors.append(Tensor(graph.fresh_name(f"{result.name}/{part}"), shape, source.dtype, source.quantization))
        return tensors[-1].name

    def fixed(part: str, data: NDArray[np.generic], quantization: Quantization | None = None) -> str:
        tensors.append(constant(graph.fresh_name(f"{result.name}/{part}"), data, quantization))
        return tensors[-1].name

    def column(part: str, at: int) -> Op:
        begin, size = (0, 0, at, 0), (batch, height, 1, channels)
        bounds = (
            fixed(f"{part}_{end}", np.array(value, np.int32)) for end, value in (("begin", begin), ("size", size))
        )
        return Op("SLICE", (source.name, *bounds), (made(part, size),))

    def reshape(part: str, data: str, target: str, shape: tuple[int, ...]) -> Op:
        return Op("RESHAPE", (data, fixed(f"{part}_shape", np.array(shape, np.int32))), (target,), {"new_shape": shape})

    first, last = column("first_column", 0), column("last_column", width - 1)
    framed = made("framed", (batch, height, width + 2, channels))
    scale = np.full(factor * channels, 1 / (2 * factor), np.float32)
    kernel = fixed("kernel", _kernel(factor, channels), Quantization.per_channel(scale, 0))
    bias_quantization = Quantization.per_channel(scale * source.quantization.scale, 0)
    bias = fixed("bias", np.zeros(factor * channels, np.int32), bias_quantization)
    columns = made("columns", (batch, height, width, factor * channels))
    wide_shape = (batch, height, 1, result.shape[2] * channels)
    rows_shape = (batch, result.shape[1], 1, result.shape[2] * channels)
    wide, rows = made("wide", wide_shape), made("rows", rows_shape)
    size = fixed("size", np.array(rows_shape[1:3], np.int32))
    options = {"padding": "VALID", "stride_h": 1, "stride_w": 1, "activation": "NONE"}
    rewritten = [
        first,
        last,
        Op("CONCATENATION", (first.outputs[0], source.name, last.outputs[0]), (framed,), {"axis": 2}),
        Op("CONV_2D", (framed, kernel, bias), (columns,), {**options, "dilation_h_factor": 1, "dilation_w_factor": 1}),
        reshape("wide", columns, wide, wide_shape),
        Op("RESIZE_BILINEAR", (wide, size), (rows,), dict(op.options)),
        reshape("whole", rows, result.name, result.shape),
    ]
    ops = [new for item in graph.ops for new in (rewritten if item is op else [item])]
    return graph.replaced(tensors=tensors, ops=ops)
