"""Lowering of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: weights, windows and rescales of both widths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.codegen.ops.convolution import Convolution
from mnedge.codegen.ops.int4_dense import Int4Dense
from mnedge.codegen.ops.int16_convolution import ACCUMULATOR_LIMIT, Convolution16, Rescale16
from mnedge.codegen.ops.rescale import Rescale, settled
from mnedge.codegen.ops.window import Window, window_of
from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import activation_range, quantize_multipliers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.codegen.program import Value
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op

_INT32_LIMIT = 1 << 31


def lower_convolution(source: Source, op: Op) -> Convolution | Convolution16:
    """CONV_2D and DEPTHWISE_CONV_2D; a PAD in front was folded into the input's padding.

    Raises:
        UnsupportedError: Weights that are not constant symmetric int8.
    """
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    entry, padding = source.padded(str(op.inputs[0]))
    x, y = source.value(entry), source.value(op.outputs[0])
    weights = source.weights(op)
    window = window_of(op, x, weights.shape[1], weights.shape[2], padding)
    if not depthwise and weights.shape[3] != x.channels:
        raise UnsupportedError(
            f"{source.where(op)} is a grouped convolution ({weights.shape[3]} weights a tap for {x.channels} "
            "input channels); only dense and depthwise ones are compiled"
        )
    if x.dtype == "int16":
        kernel_weights = weights[0] if depthwise else weights
        rescale_16 = _rescale_16(source, op, x, y, kernel_weights, channel_axis=2 if depthwise else 0)
        return Convolution16(depthwise, kernel_weights, window, rescale_16, x, y, x.channels)
    kernel_weights = weights[0] if depthwise else weights
    rescale = _rescale(source, op, x, y, kernel_weights, channel_axis=2 if depthwise else 0)
    layer = Convolution(depthwise, kernel_weights, window, rescale, x, y, x.channels)
    return layer.dense() if depthwise and x.channels == 1 else layer


def lower_fully_connected(source: Source, op: Op) -> Convolution | Convolution16:
    """FULLY_CONNECTED: a pointwise convolution over the rows of a matrix.

    Raises:
        UnsupportedError: The input holds another number of rows than the output, so that C would read or write past one
            of them; or weights that are not constant symmetric int8.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    weights = source.weights(op)
    channels, depth = weights.shape
    if x.size % depth or x.size // depth * channels != y.size:
        raise UnsupportedError(
            f"{source.where(op)} makes {y.shape} of {x.shape}, but its weights make {channels} of every {depth}; "
            "convert the model again"
        )
    kernel_weights = weights.reshape(channels, 1, 1, depth)
    if x.dtype == "int16":
        rescale_16 = _rescale_16(source, op, x, y, kernel_weights, channel_axis=0)
        return Convolution16(False, kernel_weights, Window(), rescale_16, x, y, depth, is_flat=True)  # noqa: FBT003
    rescale = _rescale(source, op, x, y, kernel_weights, channel_axis=0)
    layer = Int4Dense if source.graph.tensors[str(op.inputs[1])].is_int4 else Convolution
    return layer(False, kernel_weights, Window(), rescale, x, y, depth, is_flat=True)  # noqa: FBT003


def _reals(source: Source, op: Op, x: Value, y: Value, channels: int) -> NDArray[np.float64]:
    """The real factor of each output channel, in the floating point in which the runtime computes it."""
    tensor = source.graph.tensors[str(op.inputs[1])]
    assert tensor.quantization is not None
    scales = tensor.quantization.scale
    if op.kind != "FULLY_CONNECTED" and tensor.dtype == "uint8" and scales.size == 1:
        # The runtime multiplies these two in float32.
        product = np.float64(np.float32(x.scale) * scales[0])
        return np.full(channels, product / np.float64(y.scale))
    each = np.broadcast_to(scales, (channels,)).astype(np.float64)
    reals: NDArray[np.float64] = np.float64(x.scale) * each / np.float64(y.scale)
    return reals


def _bias(source: Source, op: Op, channels: int) -> NDArray[np.int64]:
    if len(op.inputs) < 3 or op.inputs[2] is None:
        return np.zeros(channels, np.int64)
    return source.constant(str(op.inputs[2]), op).astype(np.int64).ravel()


def _rescale(source: Source, op: Op, x: Value, y: Value, weights: NDArray[np.int64], *, channel_axis: int) -> Rescale:
    channels = weights.shape[channel_axis]
    multiplier, shift = quantize_multipliers(_reals(source, op, x, y, channels))
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    bias = _bias(source, op, channels) - x.zero_point * weights.sum(axis=others)
    low, high = activation_range(str(op.options.get("activation", "NONE")), y.scale, y.zero_point)
    once = op.kind == "FULLY_CONNECTED"
    rescale = settled(weights, channel_axis, Rescale(bias, multiplier, shift, y.zero_point, low, high, round_once=once))
    worst = np.abs(rescale.bias) + 128 * np.abs(weights).sum(axis=others)
    _check_sums(source, op, worst, _INT32_LIMIT)
    return rescale


def _rescale_16(
    source: Source, op: Op, x: Value, y: Value, weights: NDArray[np.int64], *, channel_axis: int
) -> Rescale16:
    """Multipliers that rescale sums to int16 steps.

    Raises:
        UnsupportedError: Sums or what they are scaled to could pass the runtime's integers.
    """
    channels = weights.shape[channel_axis]
    reals, bias = _reals(source, op, x, y, channels), _bias(source, op, channels)
    others = tuple(axis for axis in range(weights.ndim) if axis != channel_axis)
    worst = np.abs(bias) + 32768 * np.abs(weights).sum(axis=others)
    bias_dtype = "int64"
    if len(op.inputs) > 2 and op.inputs[2] is not None:
        bias_dtype = source.graph.tensors[str(op.inputs[2])].dtype
    elif op.options.get("quantized_bias_type") == _INT32_CODE:
        bias_dtype = "int32"
    _check_sums(source, op, worst, _INT32_LIMIT if bias_dtype == "int32" else ACCUMULATOR_LIMIT)
    _check_sums(source, op, worst * np.minimum(reals, 1 << 20), _INT32_LIMIT)
    low, high = activation_range(str(op.options.get("activation", "NONE")), y.scale, y.zero_point, "int16")
    is_narrow = int(worst.max()) < _INT32_LIMIT
    how: Literal["wide", "twice", "real"] = (
        "real" if op.kind == "FULLY_CONNECTED" else "twice" if bias_dtype == "int32" else "wide"
    )
    return Rescale16(bias, reals, low, high, is_narrow, how)


# The schema's code of int32 among tensor types.
_INT32_CODE = 2


def _check_sums(source: Source, op: Op, worst: NDArray[np.int64] | NDArray[np.float64], limit: int) -> None:
    if float(worst.max()) >= limit:
        channel = int(worst.argmax())
        raise UnsupportedError(
            f"{source.where(op)}: channel {channel} can sum up to {int(worst.max()):,}, past the "
            f"{limit.bit_length()}-bit accumulator; its bias is out of proportion to its weights: quantize the model "
            "again"
        )
