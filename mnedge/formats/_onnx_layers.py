"""ONNX's ops with weights: Conv, ConvTranspose, Gemm, MatMul, BatchNormalization."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_values import NHWC, NO_ACTIVATION, Held, Known, signed
from mnedge.formats._onnx_windows import PICTURE_RANK, check_picture, padded, pads_of, same_pads, two_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.formats._onnx_values import Handler, Node, Reading, Value
    from mnedge.formats._onnx_windows import Pads
    from mnedge.graph.graph import Options, Quantization
    from mnedge.untyped import AnyArray


_FIX_WEIGHTS = "Export the model with its weights as constants (torch.onnx.export with export_params=True)"


def weights_of(node: Node, value: Value | None, channels_axis: int) -> tuple[AnyArray, Quantization | None]:
    """The weights of a node, and their quantization with zero points 0 and one scale, or one a channel."""
    if not isinstance(value, Known):
        node.refuse("its weights are computed", _FIX_WEIGHTS)
    quantization = value.quantization
    if quantization is None:
        if value.array.dtype.kind != "f":
            node.damaged(f"its weights are {value.array.dtype}")
        return value.array.astype(np.float32), None
    array, quantization = signed(value.array, quantization)
    if array.dtype != np.int8 or np.any(quantization.zero_point):
        node.refuse(
            f"its weights are {value.array.dtype}, and not every zero point is the middle",
            "int8 weights with the zero point 0 are read: quantize_static(..., weight_type=QuantType.QInt8, "
            "extra_options={'WeightSymmetric': True}) writes them",
        )
    if quantization.axis not in (None, channels_axis):
        node.refuse(
            f"its weights have a scale for each place along axis {quantization.axis}",
            f"Scales along the output channels, axis {channels_axis}, are read",
        )
    return array, quantization


def _fixed_weights(reading: Reading, node: Node, array: AnyArray, quantization: Quantization | None, axis: int
                   ) -> str:  # fmt: skip
    if quantization is not None and quantization.axis is not None:
        quantization = replace(quantization, axis=axis)
    return reading.fixed(array, node.inputs[1], quantization)


def _bias(reading: Reading, node: Node, place: int, channels: int) -> str | None:
    value = reading.optional(node, place)
    if value is None:
        return None
    if isinstance(value, Held):
        node.refuse("its bias is computed", _FIX_WEIGHTS)
    if value.array.size not in (1, channels):
        node.damaged(f"its bias has {value.array.size} values for {channels} channels")
    if value.quantization is None:
        row = np.broadcast_to(value.array.reshape(-1).astype(np.float32), (channels,))
        return reading.fixed(row, node.inputs[place])
    quantization = value.quantization
    if quantization.scale.size > 1:
        quantization = replace(quantization, axis=0)
    if value.array.dtype != np.int32 or np.any(quantization.zero_point):
        node.refuse(f"its bias is {value.array.dtype}", "An int32 bias with the zero point 0 is read")
    return reading.fixed(value.array.reshape(-1), node.inputs[place], quantization)


def _conv(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    check_picture(node, value)
    array, quantization = weights_of(node, reading.value(node, 1), 0)
    if array.ndim != PICTURE_RANK or 0 in array.shape:
        node.damaged(f"its weights have the shape {array.shape}; four dimensions are allowed")
    group, inputs = node.whole("group", 1), value.shape[1]
    channels, depth, *window = array.shape
    if group < 1 or depth * group != inputs or channels % group:
        node.damaged(f"weights {array.shape} in {group} groups do not fit data of {inputs} channels")
    stride, dilation = two_of(node, "strides"), two_of(node, "dilations")
    size = value.shape[2:]
    pads = pads_of(node, size, window, stride, dilation)
    name, padding = padded(reading, node, reading.ordered(node, value, NHWC), pads, size, window, stride, dilation)
    options = {
        "padding": padding, "stride_h": stride[0], "stride_w": stride[1], "dilation_h_factor": dilation[0],
        "dilation_w_factor": dilation[1], **NO_ACTIVATION,
    }  # fmt: skip
    # LiteRT's convolutions want a bias.
    bias = _bias(reading, node, 2, channels) or reading.fixed(np.zeros(channels, np.float32), f"{node.outputs[0]}/bias")
    if group == 1:
        weights = _fixed_weights(reading, node, array.transpose(0, 2, 3, 1), quantization, 0)
        return [reading.make(node, "CONV_2D", (name, weights, bias), NHWC, options)]
    if depth == 1:
        weights = _fixed_weights(reading, node, array.transpose(1, 2, 3, 0), quantization, 3)
        options["depth_multiplier"] = channels // inputs
        return [reading.make(node, "DEPTHWISE_CONV_2D", (name, weights, bias), NHWC, options)]
    return [_grouped(reading, node, name, array, group, bias, options, quantization)]


def _grouped(
    reading: Reading, node: Node, name: str, array: AnyArray, group: int, bias: str,
    options: Options, quantization: Quantization | None,
) -> Held:  # fmt: skip
    """A convolution of groups: each is one of its own between SPLIT and CONCATENATION."""
    if quantization is not None:
        node.refuse(f"it is quantized and has {group} groups", "Quantized convolutions of one group, and depthwise "
                    "ones, are read; quantize the float model with mnedge")  # fmt: skip
    made = node.outputs[0]
    axis = reading.fixed(np.array(3, np.int32), f"{made}/axis")
    parts = reading.emit(node, "SPLIT", (axis, name), reading.fresh(f"{made}/group"), {"num_splits": group},
                         outputs=group)  # fmt: skip
    values = reading.tensors[bias].data
    assert values is not None
    each = array.shape[0] // group
    convolved = []
    for number, part in enumerate(parts):
        rows = slice(number * each, (number + 1) * each)
        weights = reading.fixed(array[rows].transpose(0, 2, 3, 1), f"{node.inputs[1]}/{number}")
        own = reading.fixed(values[rows], f"{bias}/{number}")
        convolved += reading.emit(node, "CONV_2D", (part, weights, own), reading.fresh(f"{made}/part"), options)
    return reading.make(node, "CONCATENATION", convolved, NHWC, {"axis": 3, **NO_ACTIVATION})


def _conv_transpose(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    check_picture(node, value)
    array, quantization = weights_of(node, reading.value(node, 1), 1)
    if node.whole("group", 1) != 1 or two_of(node, "dilations") != (1, 1):
        node.refuse("it has groups or dilations", "TFLite's TRANSPOSE_CONV has neither; use Resize and Conv instead")
    if array.ndim != PICTURE_RANK or array.shape[0] != value.shape[1]:
        node.damaged(f"weights {array.shape} do not fit data of {value.shape[1]} channels")
    window, stride = array.shape[2:], two_of(node, "strides")
    extra = node.wholes("output_padding", (0, 0)) or (0, 0)
    told = node.wholes("output_shape")
    if len(extra) != 2 or min(extra) < 0:
        node.damaged(f"output_padding is {list(extra)}")
    whole = [stride[i] * (value.shape[2 + i] - 1) + extra[i] + window[i] for i in (0, 1)]
    auto = node.text("auto_pad", "NOTSET")
    if told is not None or auto in ("SAME_UPPER", "SAME_LOWER"):
        size = told[-2:] if told is not None else tuple(value.shape[2 + i] * stride[i] for i in (0, 1))
        totals = [max(whole[i] - size[i], 0) for i in (0, 1)]
        halves = [(total // 2, total - total // 2) for total in totals]
        # onnx: the larger half goes behind for SAME_UPPER, in front otherwise.
        first, second = halves if auto == "SAME_UPPER" else [(after, before) for before, after in halves]
        pads: Pads = first, second
    else:
        pads = pads_of(node, (0, 0), window, stride, (1, 1))
    made = [whole[i] - sum(pads[i]) for i in (0, 1)]
    if min(made) < 1 or any(extra[i] >= stride[i] for i in (0, 1)):
        node.damaged(f"it makes {made[0]} x {made[1]} pixels with output_padding {list(extra)}")
    channels = array.shape[1]
    weights = _fixed_weights(reading, node, array.transpose(1, 2, 3, 0), quantization, 0)
    bias = _bias(reading, node, 2, channels)
    name, batch = reading.ordered(node, value, NHWC), value.shape[0]
    read = (weights, name) if bias is None else (weights, name, bias)
    options = {"stride_h": stride[0], "stride_w": stride[1], **NO_ACTIVATION}
    fits = [
        -(-made[i] // stride[i]) == value.shape[2 + i] and pads[i][0] == same_pads(made[i], window[i], stride[i], 1)[0]
        and max(whole[i] - extra[i] - made[i], 0) == sum(same_pads(made[i], window[i], stride[i], 1))
        for i in (0, 1)
    ]  # fmt: skip
    if all(fits):
        size_name = reading.fixed(np.array((batch, *made, channels), np.int32), f"{node.outputs[0]}/size")
        inputs = (size_name, *read)
        return [reading.make(node, "TRANSPOSE_CONV", inputs, NHWC, {"padding": "SAME", **options})]
    # All rows and columns, of which a SLICE takes those that ONNX keeps.
    full = [max(stride[i] * (value.shape[2 + i] - 1) + window[i], pads[i][0] + made[i]) for i in (0, 1)]
    size_name = reading.fixed(np.array((batch, *full, channels), np.int32), f"{node.outputs[0]}/size")
    inputs, valid = (size_name, *read), {"padding": "VALID", **options}
    if full == made:
        return [reading.make(node, "TRANSPOSE_CONV", inputs, NHWC, valid)]
    spread = reading.emit(node, "TRANSPOSE_CONV", inputs, reading.fresh(f"{node.outputs[0]}/whole"), valid)[0]
    begin = reading.fixed(np.array((0, pads[0][0], pads[1][0], 0), np.int32), f"{node.outputs[0]}/begin")
    count = reading.fixed(np.array((batch, *made, channels), np.int32), f"{node.outputs[0]}/count")
    return [reading.make(node, "SLICE", (spread, begin, count), NHWC)]


def _dense_weights(reading: Reading, node: Node, value: Held, outputs_first: bool) -> tuple[str, int]:
    """Weights (outputs, inputs) of a dense layer, inputs as they lie in the tensor that it reads; and the outputs."""
    array, quantization = weights_of(node, reading.value(node, 1), 0 if outputs_first else 1)
    if array.ndim != 2:
        node.damaged(f"its weights have the shape {array.shape}; two dimensions are allowed")
    array = array if outputs_first else array.T
    if array.shape[1] != value.shape[-1]:
        node.damaged(f"weights {array.shape} do not fit data of the shape {value.shape}")
    if value.mixed:
        array = array.reshape(-1, *value.mixed).transpose(0, 2, 3, 1).reshape(array.shape)
    return _fixed_weights(reading, node, array, quantization, 0), array.shape[0]


def _gemm(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    if value.rank != 2:
        node.damaged(f"its data has the shape {value.shape}; two dimensions are allowed")
    if node.whole("transA", 0):
        node.refuse("transA is set on data of the picture", "Export the model without it")
    weights, channels = _dense_weights(reading, node, value, bool(node.whole("transB", 0)))
    added = reading.optional(node, 2)
    if alpha != 1.0 or (beta != 1.0 and added is not None):
        tensor = reading.tensors[weights]
        if not tensor.is_constant or not isinstance(added, (Known, type(None))):
            node.refuse(f"alpha is {alpha:g} and beta {beta:g}", "Export the model with both at 1")
        weights = reading.fixed(tensor.real() * alpha, f"{weights}/scaled")
        added = added and Known(added.real() * beta)
        bias = None if added is None else reading.fixed(np.broadcast_to(added.array.reshape(-1), (channels,)),
                                                        f"{node.outputs[0]}/bias")  # fmt: skip
    else:
        bias = _bias(reading, node, 2, channels)
    name = value.name if value.mixed else reading.plain(node, value)
    return [_dense(reading, node, name, weights, bias, (value.shape[0], channels))]


def _dense(reading: Reading, node: Node, name: str, weights: str, bias: str | None, shape: tuple[int, ...]) -> Held:
    options = {**NO_ACTIVATION, "keep_num_dims": len(shape) > 2}
    order = tuple(range(len(shape)))
    return reading.make(node, "FULLY_CONNECTED", (name, weights, bias), order, options, shape=shape)


def _matmul(reading: Reading, node: Node) -> Sequence[Value]:
    value, other = reading.value(node, 0), reading.value(node, 1)
    if isinstance(value, Held) and isinstance(other, Known) and len(other.shape) == 2:
        weights, channels = _dense_weights(reading, node, value, outputs_first=False)
        name = value.name if value.mixed else reading.plain(node, value)
        return [_dense(reading, node, name, weights, None, (*value.shape[:-1], channels))]
    names = [
        reading.plain(node, side) if isinstance(side, Held) else reading.fixed(side.real(), "matrix")
        for side in (value, other)
    ]
    shapes = value.shape, other.shape
    if min(len(shape) for shape in shapes) < 2 or shapes[0][-1] != shapes[1][-2]:
        node.damaged(f"{shapes[0]} and {shapes[1]} cannot be multiplied")
    made = (*np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2]), shapes[0][-2], shapes[1][-1])
    options = {"adj_x": False, "adj_y": False}
    return [reading.make(node, "BATCH_MATMUL", names, tuple(range(len(made))), options, shape=made)]


def _batch_norm(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    if node.whole("training_mode", 0):
        node.refuse("it is in training mode", "Export the model in inference mode (model.eval())")
    if value.rank < 2 or value.mixed:
        node.refuse(f"its input has the shape {value.shape}", "Export the model with its batch norms behind "
                    "convolutions or dense layers")  # fmt: skip
    scale, offset, mean, variance = (reading.known(node, place) for place in (1, 2, 3, 4))
    if scale is None or offset is None or mean is None or variance is None:
        node.damaged("one of its four parameters is left out")
    if any(item.shape != (value.shape[1],) for item in (scale, offset, mean, variance)):
        node.damaged(f"its parameters do not fit {value.shape[1]} channels")
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.real("epsilon", 1e-5))
    shift = offset.astype(np.float64) - mean.astype(np.float64) * factor
    if not np.all(np.isfinite(factor)) or not np.all(np.isfinite(shift)):
        node.damaged("its variance is below 0, or its parameters are no finite numbers")
    shape = (1, -1, *(1,) * (value.rank - 2))
    name = node.outputs[0]
    factors = reading.fixed(reading.laid(factor.reshape(shape), value.order), f"{name}/factor")
    shifts = reading.fixed(reading.laid(shift.reshape(shape), value.order), f"{name}/shift")
    scaled = reading.make(
        node, "MUL", (value.name, factors), value.order, NO_ACTIVATION, name=reading.fresh(f"{name}/scaled")
    )
    return [reading.make(node, "ADD", (scaled.name, shifts), value.order, NO_ACTIVATION)]


LAYERS: Mapping[str, Handler] = {
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
