"""uint8 inside a model to int8: generated C and TFLM take no other; the ends stay as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Op, Quantization, Tensor
from mnedge.graph.ops import GATHERING, bias_of, data_of, weights_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph

_SHIFT = 128
_INT8_MAX = 127
_INT32_MAX = (1 << 31) - 1


def apply(graph: Graph) -> Graph:
    """Moves activations down by 128, and brings weights to symmetric int8, one scale a channel.

    Activations are exact: the same steps, 128 lower, with a zero point 128 lower. Weights are exact in every channel
    that no weight of which lies more than 127 steps from the zero point; the others, which use more than half of the
    asymmetric range on one side, are rounded to steps of their own, at most twice as coarse. QUANTIZE stands between
    uint8 and int8 at the ends, and before custom ops, whose kernels know uint8 only.
    """
    inner = {name: graph.fresh_name(f"{name}/int8") for name in graph.tensors if _moves(graph, name)}
    if not inner:
        return graph
    tensors = [_lowered(graph.tensors[name], fresh) for name, fresh in inner.items()]
    ops = [Op("QUANTIZE", (name,), (inner[name],)) for name in graph.inputs if name in inner]
    again: set[str] = set()
    for op in graph.ops:
        if "custom_options" in op.options:
            # Its inputs are made in uint8 once more, and its outputs are taken down.
            wanted = [str(name) for name in op.inputs if name in inner and name not in again]
            ops += [Op("QUANTIZE", (inner[name],), (name,)) for name in wanted if name not in graph.inputs]
            again.update(wanted)
            ops.append(op)
            ops += [Op("QUANTIZE", (name,), (inner[name],)) for name in op.outputs if name in inner]
            again.update(name for name in op.outputs if name in inner)
            continue
        changed = op
        if op.kind in GATHERING and graph.tensors[str(weights_of(op))].dtype == "uint8":
            changed, made = _weighted(graph, op)
            tensors += made
        outputs = tuple(inner.get(name, name) for name in op.outputs)
        ops.append(replace(changed.with_inputs(inner), outputs=outputs))
    ends = [name for name in graph.outputs if name in inner and name not in again and name not in graph.inputs]
    ops += [Op("QUANTIZE", (inner[name],), (name,)) for name in ends]
    return graph.replaced(tensors=tensors, ops=ops)


def _moves(graph: Graph, name: str) -> bool:
    """Returns whether a tensor is an activation, or a constant among activations, in uint8 with one scale."""
    tensor = graph.tensors[name]
    if tensor.dtype != "uint8" or tensor.quantization is None or tensor.quantization.axis is not None:
        return False
    readers = [op for op in graph.ops if name in op.inputs]
    weights = any(op.kind in GATHERING and weights_of(op) == name for op in readers)
    custom = tensor.is_constant and all("custom_options" in op.options for op in readers)
    return not weights and not custom


def _lowered(tensor: Tensor, name: str) -> Tensor:
    assert tensor.quantization is not None
    lower = Quantization(tensor.quantization.scale, tensor.quantization.zero_point - _SHIFT)
    data = None if tensor.data is None else (tensor.data.astype(np.int16) - _SHIFT).astype(np.int8)
    return Tensor(name, tensor.shape, "int8", lower, data)


def _weighted(graph: Graph, op: Op) -> tuple[Op, list[Tensor]]:
    """The op with int8 weights and the bias in their scales; both are new tensors, since others may share the old."""
    row = GATHERING[op.kind]
    # One scale of all for FULLY_CONNECTED: TFLM's kernel, and CMSIS-NN's, took no more for long.
    axis = None if op.kind == "FULLY_CONNECTED" else row.channel_axis
    weights, source = graph.tensors[str(weights_of(op))], graph.tensors[data_of(op)]
    assert weights.data is not None
    assert weights.quantization is not None
    assert source.quantization is not None
    steps = weights.data.astype(np.int64) - int(weights.quantization.zero_point[0])
    factors = _factors(steps, axis)
    spread = factors if axis is None else factors.reshape([-1 if dim == axis else 1 for dim in range(steps.ndim)])
    data = np.clip(np.round(steps / spread), -_INT8_MAX, _INT8_MAX).astype(np.int8)
    scales = (float(weights.quantization.scale[0]) * factors).astype(np.float32)
    name = graph.fresh_name(f"{weights.name}/{op.outputs[0]}/int8")
    made = [Tensor(name, weights.shape, "int8", _quantization(scales, axis), data)]
    inputs = list(op.inputs)
    inputs[row.weights] = name
    bias_name = bias_of(op)
    bias = None if bias_name is None else graph.tensors[bias_name]
    if bias is not None and bias.data is not None:
        rounded = np.clip(np.round(bias.data / factors), -_INT32_MAX, _INT32_MAX).astype(np.int32)
        bias_name = graph.fresh_name(f"{bias.name}/{op.outputs[0]}/int8")
        bias_scales = (scales * source.quantization.scale[0]).astype(np.float32)
        made.append(
            Tensor(bias_name, bias.shape, "int32", _quantization(bias_scales, None if axis is None else 0), rounded)
        )
        inputs[row.bias] = bias_name
    return replace(op, inputs=tuple(inputs)), made


def _factors(steps: NDArray[np.int64], axis: int | None) -> NDArray[np.float64]:
    """Returns the factor by which each channel's steps become coarser: 1 for a channel that fits into int8 as it is."""
    others = None if axis is None else tuple(dim for dim in range(steps.ndim) if dim != axis)
    largest = np.max(np.abs(steps), axis=others).reshape(-1)
    factors: NDArray[np.float64] = np.maximum(largest / _INT8_MAX, 1.0)
    return factors


def _quantization(scales: NDArray[np.float32], axis: int | None) -> Quantization:
    return Quantization.per_tensor(float(scales[0]), 0) if axis is None else Quantization.per_channel(scales, axis)
