"""The shapes that ops make, from the shapes and parameters that they read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mnedge.graph.ops import LAYERS, info, operands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mnedge.graph.graph import Op

Shape = tuple[int, ...]
Ints: TypeAlias = "NDArray[np.integer]"
_LARGEST_ZERO_STRIDE = 32  # NumPy's own limit on dimensions


def made_shapes(op: Op, shapes: Mapping[str, Shape], parameters: Mapping[str, Ints]) -> list[Shape] | None:
    """The shapes of an op's outputs.

    Args:
        op: The op; its numbers of inputs and outputs are those of its row in OPS.
        shapes: Shapes of the inputs that are known; a missing one is unknown.
        parameters: Values of the constant integers among the inputs.

    Returns:
        One shape an output; None where the shapes depend on what is unknown, or nothing is known of the op.

    Raises:
        ValueError: The op cannot take these inputs; the message says why.
    """
    row = info(op)
    needed = [name for name in op.inputs if name is not None]
    if any(name not in shapes for name in needed):
        return None
    if any(op.inputs[index] not in parameters for index in row.parameters if index < len(op.inputs)):
        return None
    found = [shapes[name] for name in needed]
    rule = _RULES.get(op.kind)
    if rule is not None:
        return rule(op, found, [parameters[str(op.inputs[i])] for i in row.parameters if i < len(op.inputs)])
    if row.elementwise:
        return [_broadcast(found)]
    return None


def _broadcast(shapes: list[Shape]) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"the shapes {', '.join(map(str, shapes))} do not broadcast") from None


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is outside {-rank}..{rank - 1}")
    return axis % rank


def _one(values: Ints, what: str) -> int:
    if values.size != 1:
        raise ValueError(f"{what} has {values.size} values; one is allowed")
    return int(values.ravel()[0])


def _of_rank(shape: Shape, rank: int, what: str) -> Shape:
    if len(shape) != rank:
        raise ValueError(f"{what} has the shape {shape}; {rank} dimensions are allowed")
    return shape


def _row_of(values: Ints, size: int, what: str) -> list[int]:
    if values.shape != (size,):
        raise ValueError(f"{what} has the shape {values.shape}; {(size,)} is allowed")
    return [int(value) for value in values]


def _extent(size: int, window: int, stride: int, dilation: int, padding: str) -> int:
    """The extent that a window leaves of `size` pixels."""
    if min(window, stride, dilation) < 1:
        raise ValueError(f"window {window}, stride {stride} and dilation {dilation} must be at least 1")
    if padding == "SAME":
        return -(-size // stride)
    return (size - (window - 1) * dilation - 1) // stride + 1


def _windowed(op: Op, height: int, width: int, window: tuple[int, int]) -> tuple[int, int]:
    options = op.options
    stride, dilation = (
        (options["stride_h"], options["stride_w"]),
        (
            options.get("dilation_h_factor", 1),
            options.get("dilation_w_factor", 1),
        ),
    )
    made = [
        _extent(size, window[place], int(stride[place]), int(dilation[place]), options["padding"])
        for place, size in enumerate((height, width))
    ]
    if min(made) < 1:
        raise ValueError(f"a window of {window[0]} x {window[1]} does not fit into {height} x {width}")
    return made[0], made[1]


def _convolution(op: Op, shapes: list[Shape], _: list[Ints]) -> list[Shape]:
    batch, height, width, depth = _of_rank(shapes[0], 4, "the data")
    weights = _of_rank(shapes[1], 4, "the weights")
    row = LAYERS[op.kind]
    channels, inputs = weights[row.channel_axis], weights[row.input_axis]
    if op.kind == "DEPTHWISE_CONV_2D":
        if weights[0] != 1 or channels % depth:
            raise ValueError(f"weights {weights} do not fit data of {depth} channels; (1, H, W, a multiple) is allowed")
    elif depth % inputs or channels % (depth // inputs):
        raise ValueError(f"weights {weights} do not fit data of {depth} channels")
    return [(batch, *_windowed(op, height, width, (weights[1], weights[2])), channels)]


def _transpose_conv(op: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    weights, data = _of_rank(shapes[1], 4, "the weights"), _of_rank(shapes[2], 4, "the data")
    made = _row_of(parameters[0], 4, "the output's shape")
    if min(made) < 1 or weights[3] != data[3] or made[3] != weights[0] or made[0] != data[0]:
        raise ValueError(f"weights {weights} do not make {tuple(made)} of {data}")
    if _windowed(op, made[1], made[2], (weights[1], weights[2])) != data[1:3]:
        raise ValueError(f"a window of {weights[1]} x {weights[2]} does not make {tuple(made)} of {data}")
    return [tuple(made)]


def _pool(op: Op, shapes: list[Shape], _: list[Ints]) -> list[Shape]:
    batch, height, width, channels = _of_rank(shapes[0], 4, "the data")
    window = int(op.options["filter_height"]), int(op.options["filter_width"])
    return [(batch, *_windowed(op, height, width, window), channels)]


def _pad(_: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    widths = parameters[0]
    if widths.shape != (len(shapes[0]), 2) or np.any(widths < 0):
        raise ValueError(f"paddings {widths.tolist()} do not fit the shape {shapes[0]}; none may be below 0")
    return [tuple(extent + int(row.sum()) for extent, row in zip(shapes[0], widths, strict=True))]


def _reduced(op: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    axes = {_axis(int(axis), len(shapes[0])) for axis in np.ravel(parameters[0])}
    if op.options.get("keep_dims", False):
        return [tuple(1 if place in axes else extent for place, extent in enumerate(shapes[0]))]
    return [tuple(extent for place, extent in enumerate(shapes[0]) if place not in axes)]


def _arg(_: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    axis = _axis(_one(parameters[0], "the axis"), len(shapes[0]))
    return [shapes[0][:axis] + shapes[0][axis + 1 :]]


def _concatenation(op: Op, shapes: list[Shape], _: list[Ints]) -> list[Shape]:
    axis = _axis(int(op.options["axis"]), len(shapes[0]))
    others = {(*shape[:axis], *shape[axis + 1 :]) if len(shape) == len(shapes[0]) else None for shape in shapes}
    if len(others) != 1:
        raise ValueError(f"the shapes {', '.join(map(str, shapes))} cannot be joined along axis {axis}")
    return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]


def _pack(op: Op, shapes: list[Shape], _: list[Ints]) -> list[Shape]:
    axis = _axis(int(op.options["axis"]), len(shapes[0]) + 1)
    if len(set(shapes)) != 1 or op.options.get("values_count", len(shapes)) != len(shapes):
        raise ValueError(f"{len(shapes)} values of the shapes {', '.join(map(str, shapes))} cannot be packed")
    return [(*shapes[0][:axis], len(shapes), *shapes[0][axis:])]


def _unpack(op: Op, shapes: list[Shape], _: list[Ints]) -> list[Shape]:
    axis = _axis(int(op.options["axis"]), len(shapes[0]))
    if shapes[0][axis] != len(op.outputs):
        raise ValueError(f"{shapes[0][axis]} values along axis {axis} go to {len(op.outputs)} outputs")
    return [shapes[0][:axis] + shapes[0][axis + 1 :]] * len(op.outputs)


def _split(op: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    shape, count = shapes[1], len(op.outputs)
    axis = _axis(_one(parameters[0], "the axis"), len(shape))
    if shape[axis] % count:
        raise ValueError(f"{shape[axis]} values along axis {axis} cannot be split in {count}")
    return [(*shape[:axis], shape[axis] // count, *shape[axis + 1 :])] * count


def _split_v(op: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    shape = shapes[0]
    sizes = _row_of(parameters[0], len(op.outputs), "the sizes")
    axis = _axis(_one(parameters[1], "the axis"), len(shape))
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = shape[axis] - sum(sizes) - 1
    if min(sizes) < 0 or sum(sizes) != shape[axis]:
        raise ValueError(f"{shape[axis]} values along axis {axis} cannot be split in {sizes}")
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _transposed(_: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    order = _row_of(parameters[0], len(shapes[0]), "the order")
    if sorted(order) != list(range(len(order))):
        raise ValueError(f"the order {order} is no order of {len(order)} dimensions")
    return [tuple(shapes[0][axis] for axis in order)]


def _sliced(_: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    rank = len(shapes[0])
    begin, size = _row_of(parameters[0], rank, "the begin"), _row_of(parameters[1], rank, "the size")
    made = [
        extent - first if count == -1 else count for extent, first, count in zip(shapes[0], begin, size, strict=True)
    ]
    if any(first < 0 or count < 0 or first + count > all_ for first, count, all_ in zip(begin, made, shapes[0],
                                                                                       strict=True)):  # fmt: skip
        raise ValueError(f"the slice from {begin} of {size} is outside the shape {shapes[0]}")
    return [tuple(made)]


def _strided(op: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape] | None:
    count = parameters[0].size
    begin, end, strides = (_row_of(values, count, "begin, end or strides") for values in parameters)
    if 0 in strides or count > len(shapes[0]):
        raise ValueError(f"strides {strides} do not fit the shape {shapes[0]}; 0 is not allowed")
    masks = {name: int(op.options.get(f"{name}_mask", 0)) for name in
             ("begin", "end", "shrink_axis", "ellipsis", "new_axis")}  # fmt: skip
    if masks["ellipsis"] or masks["new_axis"] or len(shapes[0]) > _LARGEST_ZERO_STRIDE:
        return None
    made = []
    for place, extent in enumerate(shapes[0]):
        if place >= count:
            made.append(extent)
        elif masks["shrink_axis"] >> place & 1:
            _axis(begin[place], extent)
        else:
            first = None if masks["begin"] >> place & 1 else begin[place]
            last = None if masks["end"] >> place & 1 else end[place]
            made.append(len(range(*slice(first, last, strides[place]).indices(extent))))
    return [tuple(made)]


def _resized(_: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    batch, _height, _width, channels = _of_rank(shapes[0], 4, "the data")
    height, width = _row_of(parameters[0], 2, "the size")
    return [(batch, height, width, channels)]


def _tiled(_: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    times = _row_of(parameters[0], len(shapes[0]), "the multiples")
    return [tuple(extent * count for extent, count in zip(shapes[0], times, strict=True))]


def _same(_: Op, shapes: list[Shape], __: list[Ints]) -> list[Shape]:
    if not shapes[0]:
        raise ValueError("a scalar has no last dimension")
    return [shapes[0]]


def _gathered(op: Op, shapes: list[Shape], _: list[Ints]) -> list[Shape] | None:
    axis = _axis(int(op.options.get("axis", 0)), len(shapes[0]))
    if op.options.get("batch_dims", 0):
        return None
    return [(*shapes[0][:axis], *shapes[1], *shapes[0][axis + 1 :])]


def _expanded(_: Op, shapes: list[Shape], parameters: list[Ints]) -> list[Shape]:
    axis = _axis(_one(parameters[0], "the axis"), len(shapes[0]) + 1)
    return [(*shapes[0][:axis], 1, *shapes[0][axis:])]


def kept_count(op: Op, shapes: Mapping[str, Shape]) -> int | None:
    """Returns the number of output values of an op that keeps their number but not their shape; None for other ops.

    Raises:
        ValueError: FULLY_CONNECTED cannot take these inputs.
    """
    if any(name not in shapes for name in op.inputs if name is not None):
        return None
    if op.kind in ("RESHAPE", "SQUEEZE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"):
        return math.prod(shapes[operands(op)[0]])
    if op.kind == "FULLY_CONNECTED":
        data, weights = (shapes[str(name)] for name in op.inputs[:2])
        channels, depth = _of_rank(weights, 2, "the weights")
        if depth < 1 or math.prod(data) % depth:
            raise ValueError(f"weights {weights} do not fit data of the shape {data}")
        return math.prod(data) // depth * channels
    return None


_RULES: dict[str, Callable[[Op, list[Shape], list[Ints]], list[Shape] | None]] = {
    "ARG_MAX": _arg,
    "ARG_MIN": _arg,
    "AVERAGE_POOL_2D": _pool,
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "EXPAND_DIMS": _expanded,
    "GATHER": _gathered,
    "L2_NORMALIZATION": _same,
    "LOG_SOFTMAX": _same,
    "MAX_POOL_2D": _pool,
    "MEAN": _reduced,
    "MIRROR_PAD": _pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "REDUCE_MAX": _reduced,
    "REDUCE_MIN": _reduced,
    "REDUCE_PROD": _reduced,
    "RESIZE_BILINEAR": _resized,
    "RESIZE_NEAREST_NEIGHBOR": _resized,
    "SHAPE": lambda _, shapes, __: [(len(shapes[0]),)],
    "SLICE": _sliced,
    "SOFTMAX": _same,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "STRIDED_SLICE": _strided,
    "SUM": _reduced,
    "TILE": _tiled,
    "TRANSPOSE": _transposed,
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": _unpack,
}
