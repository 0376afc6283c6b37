"""Each TFLite op as ONNX nodes, in real arithmetic; the writer around it adds quantization and layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnedge.graph.graph import Graph, Op, Tensor

NHWC_TO_NCHW = (0, 3, 1, 2)
NCHW_TO_NHWC = (0, 2, 3, 1)
# Where the axes of an NHWC tensor stand in NCHW.
_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}


class Writer(Protocol):
    """What an emitter may ask of the writer. Values of rank 4 are NCHW, all others as in the graph.

    Attributes:
        pads: Rows and columns, (top, bottom) and (left, right), that the convolutions behind a PAD add themselves.
    """

    graph: Graph
    pads: dict[str, tuple[tuple[int, int], tuple[int, int]]]

    def node(self, kind: str, inputs: Sequence[str], hint: str, **attributes: Any) -> str:  # noqa: ANN401
        """Adds a node of one output and returns the name of its value."""
        ...

    def values(self, array: np.ndarray[Any, Any], hint: str) -> str:
        """Adds an initializer and returns its name."""
        ...

    def real(self, name: str | None) -> str:
        """The value of a tensor in float32."""
        ...

    def weights(self, name: str, order: tuple[int, ...] | None, channel_axis: int) -> str:
        """The value of a constant in float32, its axes reordered, channels along `channel_axis` then."""
        ...

    def bias(self, op: Op, place: int) -> tuple[str, ...]:
        """The value of an op's bias, or nothing where it has none."""
        ...

    def zero(self, tensor: Tensor) -> tuple[str, ...]:
        """The step that stands for 0, or nothing where a tensor holds real values."""
        ...


def _tensor(writer: Writer, name: str | None) -> Tensor:
    return writer.graph.tensors[str(name)]


def _static(writer: Writer, name: str | None, op: Op) -> np.ndarray[Any, Any]:
    data = _tensor(writer, name).data
    if data is None:
        raise UnsupportedError(f"{op.kind} that makes {op.outputs[0]} has a computed {name}; ONNX needs a constant")
    return data


def axes(positions: Sequence[int], rank: int) -> list[int]:
    """Axes of the value that hold the given axes of the tensor."""
    positive = [int(axis) % rank for axis in positions]
    return sorted(_AXIS[axis] for axis in positive) if rank == 4 else sorted(positive)


def _same_pads(size: int, result: int, reach: int, stride: int) -> tuple[int, int]:
    total = max((result - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def _window(writer: Writer, op: Op, kernel: tuple[int, int]) -> dict[str, list[int]]:
    source, result = _tensor(writer, op.inputs[0]).shape, _tensor(writer, op.outputs[0]).shape
    strides = [int(op.options["stride_h"]), int(op.options["stride_w"])]
    dilations = [int(op.options.get(f"dilation_{axis}_factor", 1)) for axis in "hw"]
    pads = list(writer.pads.get(str(op.inputs[0]), ((0, 0), (0, 0))))
    if op.options["padding"] == "SAME":
        reach = [(kernel[dim] - 1) * dilations[dim] + 1 for dim in (0, 1)]
        pads = [_same_pads(source[dim + 1], result[dim + 1], reach[dim], strides[dim]) for dim in (0, 1)]
    window = {
        "kernel_shape": list(kernel),
        "strides": strides,
        "pads": [pads[0][0], pads[1][0], pads[0][1], pads[1][1]],
    }
    return window | ({"dilations": dilations} if dilations != [1, 1] else {})


def _convolution(writer: Writer, op: Op) -> str:
    weights = _tensor(writer, op.inputs[1])
    channels = _tensor(writer, op.inputs[0]).shape[3]
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    group = channels if depthwise else channels // weights.shape[3]
    window = _window(writer, op, (weights.shape[1], weights.shape[2]))
    kernel = writer.weights(weights.name, order, 0)
    inputs = (writer.real(op.inputs[0]), kernel, *writer.bias(op, 2))
    return writer.node("Conv", inputs, op.outputs[0], group=group, **window)


def _transpose_convolution(writer: Writer, op: Op) -> str:
    weights, source = _tensor(writer, op.inputs[1]), _tensor(writer, op.inputs[2])
    result = _tensor(writer, op.outputs[0]).shape
    strides = [int(op.options["stride_h"]), int(op.options["stride_w"])]
    begin, end, extra = [0, 0], [0, 0], [0, 0]
    for dim in (0, 1):
        full = (source.shape[dim + 1] - 1) * strides[dim] + weights.shape[dim + 1]
        surplus = max(full - result[dim + 1], 0)
        begin[dim] = surplus // 2 if op.options["padding"] == "SAME" else 0
        end[dim] = surplus - begin[dim]
        extra[dim] = max(result[dim + 1] - full, 0)
    kernel = writer.weights(weights.name, (3, 0, 1, 2), 1)
    return writer.node(
        "ConvTranspose",
        (writer.real(op.inputs[2]), kernel, *writer.bias(op, 3)),
        op.outputs[0],
        strides=strides,
        pads=[*begin, *end],
        output_padding=extra,
    )


def _fully_connected(writer: Writer, op: Op) -> str:
    weights, result = _tensor(writer, op.inputs[1]), _tensor(writer, op.outputs[0])
    rows = flat(writer, writer.real(op.inputs[0]), _tensor(writer, op.inputs[0]).shape, (-1, weights.shape[1]))
    kernel = writer.weights(weights.name, None, 0)
    product = writer.node("Gemm", (rows, kernel, *writer.bias(op, 2)), op.outputs[0], transB=1)
    if len(result.shape) == 2:
        return product
    return folded(writer, product, result.shape, op.outputs[0])


def flat(writer: Writer, value: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Reshapes a value to a shape that is not of rank 4, elements in the tensor's own order."""
    if len(shape) == 4 and 1 not in (shape[3], shape[1] * shape[2]):
        value = writer.node("Transpose", (value,), f"{value}/nhwc", perm=list(NCHW_TO_NHWC))
    stored = tuple(shape[axis] for axis in NHWC_TO_NCHW) if len(shape) == 4 else shape
    if stored == wanted:
        return value
    return writer.node("Reshape", (value, writer.values(np.array(wanted, np.int64), "shape")), f"{value}/flat")


def folded(writer: Writer, value: str, shape: tuple[int, ...], hint: str) -> str:
    """Reshapes a value that is in the tensor's own order to `shape`, NCHW where that is of rank 4."""
    if len(shape) != 4 or 1 in (shape[3], shape[1] * shape[2]):
        stored = tuple(shape[axis] for axis in NHWC_TO_NCHW) if len(shape) == 4 else shape
        return writer.node("Reshape", (value, writer.values(np.array(stored, np.int64), "shape")), hint)
    value = writer.node("Reshape", (value, writer.values(np.array(shape, np.int64), "shape")), f"{hint}/nhwc")
    return writer.node("Transpose", (value,), hint, perm=list(NHWC_TO_NCHW))


def reshape(writer: Writer, op: Op, value: str) -> str:
    """RESHAPE and SQUEEZE of a value, whatever its dtype."""
    source, result = _tensor(writer, op.inputs[0]).shape, _tensor(writer, op.outputs[0]).shape
    if len(source) == len(result) == 4 and source == result:
        return writer.node("Identity", (value,), op.outputs[0])
    if len(result) != 4:
        value = flat(writer, value, source, result)
        return writer.node("Identity", (value,), op.outputs[0]) if len(source) == len(result) == 4 else value
    return folded(writer, flat(writer, value, source, (-1,)), result, op.outputs[0])


def transpose(writer: Writer, op: Op, value: str) -> str:
    """TRANSPOSE of a value, whatever its dtype."""
    order = [int(axis) for axis in _static(writer, op.inputs[1], op)]
    if len(order) == 4:
        order = [NCHW_TO_NHWC[order[NHWC_TO_NCHW[axis]]] for axis in range(4)]
    return writer.node("Transpose", (value,), op.outputs[0], perm=order)


def tile(writer: Writer, op: Op, value: str) -> str:
    """TILE of a value, whatever its dtype."""
    repeats = _static(writer, op.inputs[1], op)
    repeats = repeats[list(NHWC_TO_NCHW)] if len(repeats) == 4 else repeats
    return writer.node("Tile", (value, writer.values(repeats.astype(np.int64), "repeats")), op.outputs[0])


def pad(writer: Writer, op: Op, value: str) -> str:
    """PAD of a value, whatever its dtype; convolutions without padding of their own take it over.

    ONNX's convolutions pad each side by any number, where TFLite's know only SAME and VALID.
    """
    widths = _static(writer, op.inputs[1], op)
    result = _tensor(writer, op.outputs[0])
    readers = writer.graph.consumers()[result.name]
    takes_over = bool(readers) and result.name not in writer.graph.outputs
    takes_over = takes_over and all(
        reader.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and reader.options["padding"] == "VALID" for reader in readers
    )
    if takes_over and len(widths) == 4 and not widths[[0, 3]].any():
        (top, bottom), (left, right) = widths[1:3].tolist()
        writer.pads[result.name] = ((top, bottom), (left, right))
        return value
    if len(widths) == 4:
        widths = widths[list(NHWC_TO_NCHW)]
    pads = writer.values(widths.T.ravel().astype(np.int64), "pads")
    return writer.node("Pad", (value, pads, *writer.zero(result)), result.name)


def _binary(kind: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        return writer.node(kind, [writer.real(name) for name in op.inputs], op.outputs[0])

    return emit


def _unary(kind: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        return writer.node(kind, (writer.real(op.inputs[0]),), op.outputs[0])

    return emit


def _pool(kind: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        source, result = _tensor(writer, op.inputs[0]).shape, _tensor(writer, op.outputs[0]).shape
        kernel = (int(op.options["filter_height"]), int(op.options["filter_width"]))
        value = writer.real(op.inputs[0])
        if kind == "AveragePool" and kernel == source[1:3] and result[1:3] == (1, 1):
            return writer.node("GlobalAveragePool", (value,), op.outputs[0])
        return writer.node(kind, (value,), op.outputs[0], **_window(writer, op, kernel))

    return emit


def _mean(writer: Writer, op: Op) -> str:
    source, value = _tensor(writer, op.inputs[0]), writer.real(op.inputs[0])
    positions = axes(np.ravel(_static(writer, op.inputs[1], op)).tolist(), len(source.shape))
    if positions == [2, 3] and len(source.shape) == 4:
        value = writer.node("GlobalAveragePool", (value,), f"{op.outputs[0]}/pooled")
    else:
        value = writer.node("ReduceMean", (value,), f"{op.outputs[0]}/mean", axes=positions, keepdims=1)
    return _squeezed(writer, op, value, positions)


def _sum(writer: Writer, op: Op) -> str:
    source, value = _tensor(writer, op.inputs[0]), writer.real(op.inputs[0])
    positions = axes(np.ravel(_static(writer, op.inputs[1], op)).tolist(), len(source.shape))
    inputs = (value, writer.values(np.array(positions, np.int64), "axes"))
    value = writer.node("ReduceSum", inputs, f"{op.outputs[0]}/sum", keepdims=1)
    return _squeezed(writer, op, value, positions)


def _squeezed(writer: Writer, op: Op, value: str, positions: Sequence[int]) -> str:
    """A reduced value without its reduced axes, where the op drops them."""
    shape, result = list(_tensor(writer, op.inputs[0]).shape), _tensor(writer, op.outputs[0]).shape
    if op.options["keep_dims"]:
        return value
    for axis in positions:
        shape[NHWC_TO_NCHW[axis] if len(shape) == 4 else axis] = 1
    return flat(writer, value, tuple(shape), result)


def _softmax(writer: Writer, op: Op) -> str:
    value, rank = writer.real(op.inputs[0]), len(_tensor(writer, op.inputs[0]).shape)
    beta = float(op.options.get("beta", 1.0))
    if beta != 1.0:
        value = writer.node("Mul", (value, writer.values(np.array(beta, np.float32), "beta")), f"{op.outputs[0]}/beta")
    return writer.node("Softmax", (value,), op.outputs[0], axis=axes([-1], rank)[0])


def _concatenation(writer: Writer, op: Op) -> str:
    rank = len(_tensor(writer, op.outputs[0]).shape)
    axis = axes([int(op.options["axis"])], rank)[0]
    return writer.node("Concat", [writer.real(name) for name in op.inputs], op.outputs[0], axis=axis)


def _resize(mode: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        coordinates = "asymmetric"
        if op.options.get("align_corners"):
            coordinates = "align_corners"
        elif op.options.get("half_pixel_centers"):
            coordinates = "half_pixel"
        shape = _tensor(writer, op.outputs[0]).shape
        sizes = writer.values(np.array([shape[axis] for axis in NHWC_TO_NCHW], np.int64), "sizes")
        rounding = "floor" if coordinates == "asymmetric" else "round_prefer_ceil"
        attributes = {"nearest_mode": rounding} if mode == "nearest" else {}
        inputs = (writer.real(op.inputs[0]), "", "", sizes)
        return writer.node(
            "Resize", inputs, op.outputs[0], mode=mode, coordinate_transformation_mode=coordinates, **attributes
        )

    return emit


def _arg_max(writer: Writer, op: Op) -> str:
    shape = _tensor(writer, op.inputs[0]).shape
    position = axes([int(np.ravel(_static(writer, op.inputs[1], op))[0])], len(shape))[0]
    value = writer.node("ArgMax", (writer.real(op.inputs[0]),), f"{op.outputs[0]}/index", axis=position, keepdims=1)
    # ONNX's indices are int64 always; TensorProto.INT32 is 6.
    if _tensor(writer, op.outputs[0]).dtype == "int32":
        value = writer.node("Cast", (value,), f"{op.outputs[0]}/int32", to=6)
    kept = list(shape)
    kept[NHWC_TO_NCHW[position] if len(shape) == 4 else position] = 1
    return flat(writer, value, tuple(kept), _tensor(writer, op.outputs[0]).shape)


def _slice(writer: Writer, op: Op) -> str:
    shape = _tensor(writer, op.inputs[0]).shape
    begin, size = (_static(writer, name, op).astype(np.int64) for name in op.inputs[1:3])
    end = np.where(size < 0, shape, begin + size)
    return _cut(writer, op, begin, end, np.ones_like(begin))


def _strided_slice(writer: Writer, op: Op) -> str:
    shape = np.array(_tensor(writer, op.inputs[0]).shape)
    begin, end, strides = (_static(writer, name, op).astype(np.int64) for name in op.inputs[1:4])
    special = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    if len(begin) != len(shape) or np.any(strides < 1) or any(op.options.get(mask) for mask in special):
        raise UnsupportedError(f"STRIDED_SLICE that makes {op.outputs[0]}: only plain slices of every axis go to ONNX")
    bits = 1 << np.arange(len(begin))
    begin = np.where(bits & int(op.options.get("begin_mask", 0)), 0, begin)
    end = np.where(bits & int(op.options.get("end_mask", 0)), shape, end)
    return _cut(writer, op, begin, end, strides)


def _cut(writer: Writer, op: Op, *bounds: np.ndarray[Any, Any]) -> str:
    order = list(NHWC_TO_NCHW) if len(bounds[0]) == 4 else slice(None)
    begin, end, strides = (bound.astype(np.int64)[order] for bound in bounds)
    names = [writer.values(values, "slice") for values in (begin, end, np.arange(len(begin)), strides)]
    return writer.node("Slice", (writer.real(op.inputs[0]), *names), op.outputs[0])


def _squared_difference(writer: Writer, op: Op) -> str:
    difference = writer.node("Sub", [writer.real(name) for name in op.inputs], f"{op.outputs[0]}/difference")
    return writer.node("Mul", (difference, difference), op.outputs[0])


def _rsqrt(writer: Writer, op: Op) -> str:
    root = writer.node("Sqrt", (writer.real(op.inputs[0]),), f"{op.outputs[0]}/root")
    return writer.node("Reciprocal", (root,), op.outputs[0])


def _l2_normalization(writer: Writer, op: Op) -> str:
    rank = len(_tensor(writer, op.inputs[0]).shape)
    return writer.node("LpNormalization", (writer.real(op.inputs[0]),), op.outputs[0], axis=axes([-1], rank)[0], p=2)


def clipped(writer: Writer, value: str, activation: str, hint: str) -> str:
    """A value after a fused activation.

    Raises:
        UnsupportedError: The activation has no ONNX form here.
    """
    if activation == "NONE":
        return value
    if activation == "RELU":
        return writer.node("Relu", (value,), hint)
    limits = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
    if activation not in limits:
        raise UnsupportedError(f"the activation {activation} of {hint} does not go to ONNX")
    bounds = [writer.values(np.array(limit, np.float32), "limit") for limit in limits[activation]]
    return writer.node("Clip", (value, *bounds), hint)


EMITTERS: dict[str, Callable[[Writer, Op], str]] = {
    "ADD": _binary("Add"),
    "ARG_MAX": _arg_max,
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "DIV": _binary("Div"),
    "EXP": _unary("Exp"),
    "FULLY_CONNECTED": _fully_connected,
    "HARD_SWISH": _unary("HardSwish"),
    "L2_NORMALIZATION": _l2_normalization,
    "LOGISTIC": _unary("Sigmoid"),
    "MAXIMUM": _binary("Max"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "MEAN": _mean,
    "MINIMUM": _binary("Min"),
    "MUL": _binary("Mul"),
    "RELU": lambda writer, op: clipped(writer, writer.real(op.inputs[0]), "RELU", op.outputs[0]),
    "RELU6": lambda writer, op: clipped(writer, writer.real(op.inputs[0]), "RELU6", op.outputs[0]),
    "RESIZE_BILINEAR": _resize("linear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "RSQRT": _rsqrt,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SQUARED_DIFFERENCE": _squared_difference,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _binary("Sub"),
    "SUM": _sum,
    "TRANSPOSE_CONV": _transpose_convolution,
}
# Ops that move elements and compute nothing; quantized values go through them as they are.
MOVERS: dict[str, Callable[[Writer, Op, str], str]] = {
    "PAD": pad,
    "RESHAPE": reshape,
    "SQUEEZE": reshape,
    "TILE": tile,
    "TRANSPOSE": transpose,
}
