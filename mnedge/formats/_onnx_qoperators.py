"""Nodes that compute on 8-bit steps, as QuantFormat.QOperator writes them: the same nodes in reals between Q and DQ.

ONNX defines QLinearConv and its like by exactly these nodes, and the scales and zero points of the file stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_values import Held, Known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx

    from mnedge.formats._onnx_values import Node, Reading

_MICROSOFT = "com.microsoft."
# Ops of ONNX that move or choose values: quantize_static leaves them between 8-bit nodes as they are.
_MOVERS = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape", "Resize", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip


@dataclass(frozen=True)
class _Form:
    """A node on steps.

    Attributes:
        kind: The op in reals.
        values: Place of each operand; its scale and zero point follow it.
        made: Place of the output's scale; its zero point follows it.
        bias: Place of an int32 bias whose scale is the product of the first two; None for none.
        kept: Attributes that the op in reals has too.
    """

    kind: str
    values: tuple[int, ...]
    made: int
    bias: int | None = None
    kept: tuple[str, ...] = ()


_WINDOWS = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOLS = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
_FORMS: Mapping[str, _Form] = {
    "QLinearConv": _Form("Conv", (0, 3), 6, bias=8, kept=_WINDOWS),
    "QLinearMatMul": _Form("MatMul", (0, 3), 6),
    f"{_MICROSOFT}QGemm": _Form("Gemm", (0, 3), 7, bias=6, kept=("alpha", "transA", "transB")),
    f"{_MICROSOFT}QLinearAdd": _Form("Add", (0, 3), 6),
    f"{_MICROSOFT}QLinearMul": _Form("Mul", (0, 3), 6),
    f"{_MICROSOFT}QLinearAveragePool": _Form("AveragePool", (0,), 3, kept=_POOLS),
    f"{_MICROSOFT}QLinearGlobalAveragePool": _Form("GlobalAveragePool", (0,), 3),
    f"{_MICROSOFT}QLinearLeakyRelu": _Form("LeakyRelu", (0,), 3, kept=("alpha",)),
    f"{_MICROSOFT}QLinearSigmoid": _Form("Sigmoid", (0,), 3),
    f"{_MICROSOFT}QLinearSoftmax": _Form("Softmax", (0,), 3, kept=("axis",)),
}
_CONCAT = f"{_MICROSOFT}QLinearConcat"


def in_reals(reading: Reading, node: Node, message: onnx.NodeProto) -> Sequence[onnx.NodeProto] | None:
    """The nodes that stand for one that computes on steps; None for every other node.

    Constants that they read are put among the values of the reading.

    Raises:
        InputError: The node lacks a scale.
        UnsupportedError: It has its channels last.
    """
    if node.whole("channels_last", 0) if node.kind.startswith(f"{_MICROSOFT}QLinear") else 0:
        node.refuse("it has its channels last", "Quantize the float model with quant_format=QuantFormat.QDQ")
    if node.kind == _CONCAT:
        count = (len(node.inputs) - 2) // 3
        return _between(reading, node, _Form("Concat", tuple(range(2, 2 + 3 * count, 3)), 0, kept=("axis",)), message)
    form = _FORMS.get(node.kind)
    if form is not None:
        return _between(reading, node, form, message)
    return _moved(reading, node, message) if node.kind in _MOVERS else None


def _between(reading: Reading, node: Node, form: _Form, message: onnx.NodeProto) -> list[onnx.NodeProto]:
    from onnx import helper

    made: list[onnx.NodeProto] = []
    axis = {"axis": 0} if form.kind == "Conv" else {}
    if form.kind == "Gemm":
        axis = {"axis": 0 if node.whole("transB", 0) else 1}
    reals = []
    for place in form.values:
        # Weights have a scale for each output channel; activations have one, and no axis is looked at.
        told = axis if isinstance(reading.value(node, place), Known) else {}
        reals.append(_free(reading, node, f"real{place}"))
        made.append(helper.make_node("DequantizeLinear", node.inputs[place : place + 3], [reals[-1]], **told))
    if form.bias is not None and reading.optional(node, form.bias) is not None:
        scales = [reading.known(node, place + 1) for place in form.values]
        if scales[0] is None or scales[1] is None:
            node.damaged("it lacks a scale")
        scale, zero, real = (_free(reading, node, name) for name in ("bias_scale", "bias_zero", "bias"))
        product = np.asarray(scales[0] * scales[1], np.float32)
        reading.values[scale] = Known(product)
        reading.values[zero] = Known(np.zeros(product.shape, np.int32))
        made.append(helper.make_node("DequantizeLinear", [node.inputs[form.bias], scale, zero], [real], axis=0))
        reals.append(real)
    result = _free(reading, node, "result")
    op = helper.make_node(form.kind, reals, [result], message.name)
    op.attribute.extend(item for item in message.attribute if item.name in form.kept)
    ends = node.inputs[form.made : form.made + 2]
    return [*made, op, helper.make_node("QuantizeLinear", [result, *ends], [node.outputs[0]])]


def _moved(reading: Reading, node: Node, message: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """A mover of steps as one of reals: steps keep their scale."""
    from onnx import NodeProto, helper

    value = reading.optional(node, 0)
    if not isinstance(value, Held):
        return None
    quantization = reading.tensors[value.name].quantization
    if quantization is None or reading.tensors[value.name].dtype != "int8":
        return None
    scale, zero, real = (_free(reading, node, name) for name in ("scale", "zero", "real"))
    reading.values[scale] = Known(np.asarray(quantization.scale[0], np.float32))
    reading.values[zero] = Known(np.asarray(quantization.zero_point[0], np.int8))
    op = NodeProto()
    op.CopyFrom(message)
    op.input[0] = real
    made = [helper.make_node("DequantizeLinear", [node.inputs[0], scale, zero], [real]), op]
    for place, name in enumerate(node.outputs):
        op.output[place] = _free(reading, node, f"moved{place}") if name else ""
        if name:
            made.append(helper.make_node("QuantizeLinear", [op.output[place], scale, zero], [name]))
    return made


def _free(reading: Reading, node: Node, name: str) -> str:
    """A name that no value of the file has."""
    free = f"{node.outputs[0]}/{name}"
    while free in reading.reserved or free in reading.values:
        free += "_"
    reading.reserved.add(free)
    return free
