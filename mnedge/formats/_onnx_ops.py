"""Emits TFLite ops as ONNX nodes in real arithmetic; the writer around them adds quantization and layout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.formats._onnx_layout import NHWC_TO_NCHW, Writer, axes, static, tensor_of
from mnedge.formats._onnx_movers import flat, folded, natural, stored
from mnedge.graph.ops import ACTIVATION_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnedge.graph.graph import Op
    from mnedge.untyped import AnyArray


def _same_pads(size: int, result: int, reach: int, stride: int) -> tuple[int, int]:
    total = max((result - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def _window(writer: Writer, op: Op, kernel: tuple[int, int]) -> dict[str, list[int]]:
    source, result = tensor_of(writer, op.inputs[0]).shape, tensor_of(writer, op.outputs[0]).shape
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
    weights = tensor_of(writer, op.inputs[1])
    channels = tensor_of(writer, op.inputs[0]).shape[3]
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    group = channels if depthwise else channels // weights.shape[3]
    window = _window(writer, op, (weights.shape[1], weights.shape[2]))
    kernel = writer.weights(weights.name, order, 0)
    inputs = (writer.real(op.inputs[0]), kernel, *writer.bias(op, 2))
    return writer.node("Conv", inputs, op.outputs[0], group=group, **window)


def _transpose_convolution(writer: Writer, op: Op) -> str:
    weights, source = tensor_of(writer, op.inputs[1]), tensor_of(writer, op.inputs[2])
    result = tensor_of(writer, op.outputs[0]).shape
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
    weights, result = tensor_of(writer, op.inputs[1]), tensor_of(writer, op.outputs[0])
    rows = flat(writer, writer.real(op.inputs[0]), tensor_of(writer, op.inputs[0]).shape, (-1, weights.shape[1]))
    kernel = writer.weights(weights.name, None, 0)
    product = writer.node("Gemm", (rows, kernel, *writer.bias(op, 2)), op.outputs[0], transB=1)
    if len(result.shape) == 2:
        return product
    return folded(writer, product, result.shape, op.outputs[0])


def _batch_matmul(writer: Writer, op: Op) -> str:
    ranks = [len(tensor_of(writer, name).shape) for name in (*op.inputs, op.outputs[0])]
    values = [natural(writer, writer.real(name), rank) for name, rank in zip(op.inputs, ranks, strict=False)]
    for place, turned in enumerate(("adj_x", "adj_y")):
        if op.options.get(turned):
            order = [*range(ranks[place] - 2), ranks[place] - 1, ranks[place] - 2]
            values[place] = writer.node("Transpose", (values[place],), f"{values[place]}/turned", perm=order)
    product = writer.node("MatMul", values, f"{op.outputs[0]}/product")
    return stored(writer, product, ranks[2], op.outputs[0])


def _binary(kind: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        rank = len(tensor_of(writer, op.outputs[0]).shape)
        return writer.node(kind, [_operand(writer, name, rank) for name in op.inputs], op.outputs[0])

    return emit


def _operand(writer: Writer, name: str | None, rank: int) -> str:
    """An operand of arithmetic of a rank; a computed one of less axes has its channels where NCHW has them."""
    tensor, value = tensor_of(writer, name), writer.real(name)
    missing = rank - len(tensor.shape)
    if rank != 4 or missing == 0 or tensor.is_constant or not tensor.shape:
        return value
    return folded(writer, value, (1,) * missing + tensor.shape, f"{value}/raised")


def _unary(kind: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        return writer.node(kind, (writer.real(op.inputs[0]),), op.outputs[0])

    return emit


def _pool(kind: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        source, result = tensor_of(writer, op.inputs[0]).shape, tensor_of(writer, op.outputs[0]).shape
        kernel = (int(op.options["filter_height"]), int(op.options["filter_width"]))
        value = writer.real(op.inputs[0])
        if kind == "AveragePool" and kernel == source[1:3] and result[1:3] == (1, 1):
            return writer.node("GlobalAveragePool", (value,), op.outputs[0])
        return writer.node(kind, (value,), op.outputs[0], **_window(writer, op, kernel))

    return emit


def _mean(writer: Writer, op: Op) -> str:
    source, value = tensor_of(writer, op.inputs[0]), writer.real(op.inputs[0])
    positions = axes(np.ravel(static(writer, op.inputs[1], op)).tolist(), len(source.shape))
    if positions == [2, 3] and len(source.shape) == 4:
        value = writer.node("GlobalAveragePool", (value,), f"{op.outputs[0]}/pooled")
    else:
        value = writer.node("ReduceMean", (value,), f"{op.outputs[0]}/mean", axes=positions, keepdims=1)
    return _squeezed(writer, op, value, positions)


def _extreme(kind: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        source, value = tensor_of(writer, op.inputs[0]), writer.real(op.inputs[0])
        positions = axes(np.ravel(static(writer, op.inputs[1], op)).tolist(), len(source.shape))
        value = writer.node(kind, (value,), f"{op.outputs[0]}/extreme", axes=positions, keepdims=1)
        return _squeezed(writer, op, value, positions)

    return emit


def _sum(writer: Writer, op: Op) -> str:
    source, value = tensor_of(writer, op.inputs[0]), writer.real(op.inputs[0])
    positions = axes(np.ravel(static(writer, op.inputs[1], op)).tolist(), len(source.shape))
    inputs = (value, writer.values(np.array(positions, np.int64), "axes"))
    value = writer.node("ReduceSum", inputs, f"{op.outputs[0]}/sum", keepdims=1)
    return _squeezed(writer, op, value, positions)


def _squeezed(writer: Writer, op: Op, value: str, positions: Sequence[int]) -> str:
    """A reduced value without its reduced axes, where the op drops them."""
    shape, result = list(tensor_of(writer, op.inputs[0]).shape), tensor_of(writer, op.outputs[0]).shape
    if op.options["keep_dims"]:
        return value
    for axis in positions:
        shape[NHWC_TO_NCHW[axis] if len(shape) == 4 else axis] = 1
    return flat(writer, value, tuple(shape), result)


def _softmax(writer: Writer, op: Op) -> str:
    value, rank = writer.real(op.inputs[0]), len(tensor_of(writer, op.inputs[0]).shape)
    beta = float(op.options.get("beta", 1.0))
    if beta != 1.0:
        value = writer.node("Mul", (value, writer.values(np.array(beta, np.float32), "beta")), f"{op.outputs[0]}/beta")
    return writer.node("Softmax", (value,), op.outputs[0], axis=axes([-1], rank)[0])


def _concatenation(writer: Writer, op: Op) -> str:
    rank = len(tensor_of(writer, op.outputs[0]).shape)
    axis = axes([int(op.options["axis"])], rank)[0]
    return writer.node("Concat", [writer.real(name) for name in op.inputs], op.outputs[0], axis=axis)


def _pack(writer: Writer, op: Op) -> str:
    rank, made = len(tensor_of(writer, op.inputs[0]).shape), len(tensor_of(writer, op.outputs[0]).shape)
    axis = int(op.options.get("axis", 0)) % made
    name = writer.values(np.array([axis], np.int64), "axis")
    values = [natural(writer, writer.real(part), rank) for part in op.inputs]
    parts = [writer.node("Unsqueeze", (value, name), f"{value}/row") for value in values]
    return stored(writer, writer.node("Concat", parts, f"{op.outputs[0]}/packed", axis=axis), made, op.outputs[0])


def _blocks(kind: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        block = int(op.options["block_size"])
        return writer.node(kind, (writer.real(op.inputs[0]),), op.outputs[0], blocksize=block)

    return emit


def _mirror_pad(writer: Writer, op: Op) -> str:
    widths = static(writer, op.inputs[1], op)
    if op.options.get("mode", 0):
        raise UnsupportedError(
            f"the symmetric MIRROR_PAD that makes {op.outputs[0]} does not go to ONNX, whose Pad mirrors without the "
            'border itself; pad with mode="REFLECT" or with zeros in the model, or give a --target without ONNX'
        )
    widths = widths[list(NHWC_TO_NCHW)] if len(widths) == 4 else widths
    pads = writer.values(widths.T.ravel().astype(np.int64), "pads")
    return writer.node("Pad", (writer.real(op.inputs[0]), pads), op.outputs[0], mode="reflect")


def _resize(mode: str) -> Callable[[Writer, Op], str]:
    def emit(writer: Writer, op: Op) -> str:
        coordinates = "asymmetric"
        if op.options.get("align_corners"):
            coordinates = "align_corners"
        elif op.options.get("half_pixel_centers"):
            coordinates = "half_pixel"
        shape = tensor_of(writer, op.outputs[0]).shape
        sizes = writer.values(np.array([shape[axis] for axis in NHWC_TO_NCHW], np.int64), "sizes")
        rounding = "floor" if coordinates == "asymmetric" else "round_prefer_ceil"
        attributes = {"nearest_mode": rounding} if mode == "nearest" else {}
        inputs = (writer.real(op.inputs[0]), "", "", sizes)
        return writer.node(
            "Resize", inputs, op.outputs[0], mode=mode, coordinate_transformation_mode=coordinates, **attributes
        )

    return emit


def _arg_max(writer: Writer, op: Op) -> str:
    shape = tensor_of(writer, op.inputs[0]).shape
    position = axes([int(np.ravel(static(writer, op.inputs[1], op))[0])], len(shape))[0]
    value = writer.node("ArgMax", (writer.real(op.inputs[0]),), f"{op.outputs[0]}/index", axis=position, keepdims=1)
    # ONNX's indices are int64 always; TensorProto.INT32 is 6.
    if tensor_of(writer, op.outputs[0]).dtype == "int32":
        value = writer.node("Cast", (value,), f"{op.outputs[0]}/int32", to=6)
    kept = list(shape)
    kept[NHWC_TO_NCHW[position] if len(shape) == 4 else position] = 1
    return flat(writer, value, tuple(kept), tensor_of(writer, op.outputs[0]).shape)


def _slice(writer: Writer, op: Op) -> str:
    shape = tensor_of(writer, op.inputs[0]).shape
    begin, size = (static(writer, name, op).astype(np.int64) for name in op.inputs[1:3])
    end = np.where(size < 0, shape, begin + size)
    return _cut(writer, op, begin, end, np.ones_like(begin))


def _strided_slice(writer: Writer, op: Op) -> str:
    shape = np.array(tensor_of(writer, op.inputs[0]).shape)
    begin, end, strides = (static(writer, name, op).astype(np.int64) for name in op.inputs[1:4])
    special = ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    if len(begin) != len(shape) or np.any(strides < 1) or any(op.options.get(mask) for mask in special):
        raise UnsupportedError(f"STRIDED_SLICE that makes {op.outputs[0]}: only plain slices of every axis go to ONNX")
    bits = 1 << np.arange(len(begin))
    begin = np.where(bits & int(op.options.get("begin_mask", 0)), 0, begin)
    end = np.where(bits & int(op.options.get("end_mask", 0)), shape, end)
    return _cut(writer, op, begin, end, strides)


def _cut(writer: Writer, op: Op, *bounds: AnyArray) -> str:
    order = list(NHWC_TO_NCHW) if len(bounds[0]) == 4 else slice(None)
    begin, end, strides = (bound.astype(np.int64)[order] for bound in bounds)
    names = [writer.values(values, "slice") for values in (begin, end, np.arange(len(begin)), strides)]
    return writer.node("Slice", (writer.real(op.inputs[0]), *names), op.outputs[0])


def _squared_difference(writer: Writer, op: Op) -> str:
    difference = writer.node("Sub", [writer.real(name) for name in op.inputs], f"{op.outputs[0]}/difference")
    return writer.node("Mul", (difference, difference), op.outputs[0])


def _leaky_relu(writer: Writer, op: Op) -> str:
    alpha = float(op.options.get("alpha", 0.0))
    return writer.node("LeakyRelu", (writer.real(op.inputs[0]),), op.outputs[0], alpha=alpha)


def _square(writer: Writer, op: Op) -> str:
    value = writer.real(op.inputs[0])
    return writer.node("Mul", (value, value), op.outputs[0])


def _log_softmax(writer: Writer, op: Op) -> str:
    rank = len(tensor_of(writer, op.inputs[0]).shape)
    return writer.node("LogSoftmax", (writer.real(op.inputs[0]),), op.outputs[0], axis=axes([-1], rank)[0])


def _gelu(writer: Writer, op: Op) -> str:
    """Hendrycks and Gimpel 2016, section 2, arXiv:1606.08415; Gelu itself is from opset 20."""
    name, value = op.outputs[0], writer.real(op.inputs[0])

    def number(real: float) -> str:
        return writer.values(np.array(real, np.float32), "gelu")

    if op.options.get("approximate", False):
        cube = writer.node("Mul", (writer.node("Mul", (value, value), f"{name}/square"), value), f"{name}/cube")
        small = writer.node("Mul", (cube, number(0.044715)), f"{name}/small")
        inner = writer.node("Add", (value, small), f"{name}/inner")
        gate = writer.node("Tanh", (writer.node("Mul", (inner, number(math.sqrt(2 / math.pi))), f"{name}/arg"),),
                           f"{name}/gate")  # fmt: skip
    else:
        arg = writer.node("Mul", (value, number(math.sqrt(0.5))), f"{name}/arg")
        gate = writer.node("Erf", (arg,), f"{name}/gate")
    raised = writer.node("Add", (gate, number(1.0)), f"{name}/raised")
    return writer.node("Mul", (writer.node("Mul", (value, number(0.5)), f"{name}/half"), raised), name)


def _rsqrt(writer: Writer, op: Op) -> str:
    root = writer.node("Sqrt", (writer.real(op.inputs[0]),), f"{op.outputs[0]}/root")
    return writer.node("Reciprocal", (root,), op.outputs[0])


def _l2_normalization(writer: Writer, op: Op) -> str:
    rank = len(tensor_of(writer, op.inputs[0]).shape)
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
    if activation not in ACTIVATION_LIMITS:
        raise UnsupportedError(f"the activation {activation} of {hint} does not go to ONNX")
    bounds = [writer.values(np.array(limit, np.float32), "limit") for limit in ACTIVATION_LIMITS[activation]]
    return writer.node("Clip", (value, *bounds), hint)


EMITTERS: dict[str, Callable[[Writer, Op], str]] = {
    "ABS": _unary("Abs"),
    "ADD": _binary("Add"),
    "ARG_MAX": _arg_max,
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "BATCH_MATMUL": _batch_matmul,
    "CEIL": _unary("Ceil"),
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "COS": _unary("Cos"),
    "DEPTHWISE_CONV_2D": _convolution,
    "DEPTH_TO_SPACE": _blocks("DepthToSpace"),
    "DIV": _binary("Div"),
    "ELU": _unary("Elu"),
    "EXP": _unary("Exp"),
    "FLOOR": _unary("Floor"),
    "FULLY_CONNECTED": _fully_connected,
    "GELU": _gelu,
    "HARD_SWISH": _unary("HardSwish"),
    "L2_NORMALIZATION": _l2_normalization,
    "LEAKY_RELU": _leaky_relu,
    "LOG": _unary("Log"),
    "LOGISTIC": _unary("Sigmoid"),
    "LOG_SOFTMAX": _log_softmax,
    "MAXIMUM": _binary("Max"),
    "MAX_POOL_2D": _pool("MaxPool"),
    "MEAN": _mean,
    "MINIMUM": _binary("Min"),
    "MIRROR_PAD": _mirror_pad,
    "MUL": _binary("Mul"),
    "NEG": _unary("Neg"),
    "PACK": _pack,
    "PRELU": _binary("PRelu"),
    "REDUCE_MAX": _extreme("ReduceMax"),
    "REDUCE_MIN": _extreme("ReduceMin"),
    "RELU": lambda writer, op: clipped(writer, writer.real(op.inputs[0]), "RELU", op.outputs[0]),
    "RELU6": lambda writer, op: clipped(writer, writer.real(op.inputs[0]), "RELU6", op.outputs[0]),
    "RELU_N1_TO_1": lambda writer, op: clipped(writer, writer.real(op.inputs[0]), "RELU_N1_TO_1", op.outputs[0]),
    "RESIZE_BILINEAR": _resize("linear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "ROUND": _unary("Round"),
    "RSQRT": _rsqrt,
    "SIN": _unary("Sin"),
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPACE_TO_DEPTH": _blocks("SpaceToDepth"),
    "SQRT": _unary("Sqrt"),
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _squared_difference,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _binary("Sub"),
    "SUM": _sum,
    "TANH": _unary("Tanh"),
    "TRANSPOSE_CONV": _transpose_convolution,
}
