"""QuantizeLinear and DequantizeLinear: scales and zero points as they are in the file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_values import Known
from mnedge.graph.graph import Quantization

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.formats._onnx_values import Handler, Node, Reading, Value
    from mnedge.graph.graph import Tensor

_WAY = "8-bit QDQ files are read, as quantize_static(..., quant_format=QuantFormat.QDQ) writes them"


def _quantization(reading: Reading, node: Node, rank: int) -> tuple[Quantization, str]:
    """The scale and zero point of a node, and the dtype of its steps."""
    scale, zero_point = reading.known(node, 1), reading.known(node, 2)
    if scale is None or scale.ndim > 1 or not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        node.damaged("its scale is no row of positive numbers")
    if node.whole("block_size", 0):
        node.refuse("it has a scale for each block of values", _WAY)
    zeros = np.zeros(scale.shape, np.uint8) if zero_point is None else zero_point
    if zeros.size != scale.size:
        node.damaged(f"it has {zeros.size} zero points for {scale.size} scales")
    axis = node.whole("axis", 1)
    if scale.size > 1 and not -rank <= axis < rank:
        node.damaged(f"axis {axis} is outside of {rank} dimensions")
    found = Quantization(
        scale.astype(np.float32).reshape(-1),
        zeros.astype(np.int64).reshape(-1),
        axis % rank if scale.size > 1 else None,
    )
    return found, str(zeros.dtype)


def _quantize(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.value(node, 0)
    quantization, dtype = _quantization(reading, node, len(value.shape))
    if dtype not in ("int8", "uint8"):
        node.refuse(f"it makes {dtype}", _WAY)
    if isinstance(value, Known):
        return [Known(quantization.quantize(value.real(), dtype))]
    if quantization.axis is not None:
        node.refuse("it has a scale for each channel of an activation", _WAY)
    if dtype == "uint8":
        quantization = replace(quantization, zero_point=quantization.zero_point - 128)
    shape = reading.tensors[value.name].shape
    name = reading.emit(node, "QUANTIZE", (value.name,), node.outputs[0], shape=shape, dtype="int8")[0]
    reading.tensors[name] = replace(reading.tensors[name], quantization=quantization)
    return [reading.like(value, name)]


def _dequantize(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.value(node, 0)
    if isinstance(value, Known):
        quantization, _ = _quantization(reading, node, len(value.shape))
        if str(value.array.dtype) not in ("int8", "uint8", "int32"):
            node.refuse(f"its constant is {value.array.dtype}", _WAY)
        if quantization.axis is not None and value.shape[quantization.axis] != quantization.scale.size:
            node.damaged(f"it has {quantization.scale.size} scales for the shape {value.shape}")
        return [Known(value.array, quantization)]
    quantization, dtype = _quantization(reading, node, value.rank)
    tensor = reading.tensors[value.name]
    if tensor.dtype == dtype and quantization.axis is None and _is_input(reading, value.name):
        tensor = _input_steps(reading, node, value.name, quantization)
    if dtype == "uint8":
        quantization = replace(quantization, zero_point=quantization.zero_point - 128)
    if tensor.quantization is None or quantization.axis is not None:
        node.refuse(f"it reads {tensor.dtype} values that no QuantizeLinear makes", _WAY)
    if not _is_same(tensor.quantization, quantization):
        node.refuse("its scale is not that of the QuantizeLinear before it", _WAY)
    made = reading.emit(node, "DEQUANTIZE", (tensor.name,), node.outputs[0], shape=tensor.shape, dtype="float32")
    return [reading.like(value, made[0])]


def _is_input(reading: Reading, name: str) -> bool:
    """Whether a tensor is an input of the model, whose steps its first DequantizeLinear tells."""
    return not reading.tensors[name].is_constant and all(name not in op.outputs for op in reading.ops)


def _input_steps(reading: Reading, node: Node, name: str, quantization: Quantization) -> Tensor:
    """The int8 steps of an input of int8 or uint8, whose scale and zero point become known here."""
    tensor = reading.tensors[name]
    if tensor.quantization is not None and not _is_same(tensor.quantization, quantization):
        node.refuse("another node reads the same input with another scale", _WAY)
    tensor = reading.tensors[name] = replace(tensor, quantization=quantization)
    if tensor.dtype == "int8":
        return tensor
    steps = reading.emit(node, "QUANTIZE", (name,), f"{name}/int8", shape=tensor.shape, dtype="int8")[0]
    inner = replace(quantization, zero_point=quantization.zero_point - 128)
    made = reading.tensors[steps] = replace(reading.tensors[steps], quantization=inner)
    return made


def _is_same(one: Quantization, other: Quantization) -> bool:
    return bool(np.array_equal(one.scale, other.scale) and np.array_equal(one.zero_point, other.zero_point))


QUANTIZED: Mapping[str, Handler] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
