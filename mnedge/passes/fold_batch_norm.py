"""A MUL and ADD by constants behind an int8 convolution, folded into its weights and bias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Quantization, Tensor
from mnedge.graph.ops import CONVOLUTIONS, LAYERS, bias_of, weights_of
from mnedge.passes._pass import read_once

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op

_LARGEST_BIAS = float(1 << 30)
_INT8_MAX = 127


@dataclass
class _Affine:
    """Factor and shift of the ops behind a convolution: gamma * y + beta, channel by channel, float64 (channels,)."""

    gamma: NDArray[np.float64]
    beta: NDArray[np.float64]
    ops: list[Op]


def apply(graph: Graph) -> Graph:
    """Folds batch norms that an exporter left behind their convolutions.

    Exact in real arithmetic: gamma * (W x + b) + beta = (gamma W) x + (gamma b + beta). The steps of the weights stay,
    their scales, one a channel, take gamma up; a quantized graph rounds once where it rounded three times.
    """
    once = read_once(graph)
    for op in graph.ops:
        found = _behind(graph, op, once) if _is_plain(graph, op) else None
        if found is not None:
            graph = _folded(graph, op, found)
    return graph


def _is_plain(graph: Graph, op: Op) -> bool:
    if op.kind not in CONVOLUTIONS or op.options.get("activation", "NONE") != "NONE":
        return False
    weights, source = graph.tensors[str(weights_of(op))], graph.tensors[str(op.inputs[0])]
    is_int8 = weights.dtype == source.dtype == "int8" and weights.data is not None
    quantized = weights.quantization is not None and not weights.quantization.zero_point.any()
    bias = bias_of(op)
    known = bias is None or graph.tensors[bias].data is not None
    return is_int8 and quantized and source.quantization is not None and known


def _behind(graph: Graph, convolution: Op, once: set[str]) -> _Affine | None:
    channels = graph.tensors[convolution.outputs[0]].shape[-1]
    affine = _Affine(np.ones(channels), np.zeros(channels), [])
    readers = graph.consumers()
    name = convolution.outputs[0]
    while name in once and name not in graph.outputs:
        (op,) = readers[name]
        values = _constant(graph, op, name, channels)
        if values is None:
            break
        if op.kind == "MUL":
            affine.gamma, affine.beta = affine.gamma * values, affine.beta * values
        else:
            affine.beta = affine.beta + values
        affine.ops.append(op)
        name = op.outputs[0]
        if op.options.get("activation", "NONE") != "NONE":
            break
    return affine if affine.ops else None


def _constant(graph: Graph, op: Op, name: str, channels: int) -> NDArray[np.float64] | None:
    """The other side of a MUL or ADD where it is one value, or one for each channel; None for all else."""
    if op.kind not in ("MUL", "ADD"):
        return None
    other = graph.tensors[str(op.inputs[1] if op.inputs[0] == name else op.inputs[0])]
    result, source = graph.tensors[op.outputs[0]], graph.tensors[name]
    # One value, or a row of them along the channels.
    is_row = (
        other.data is not None and other.data.size in (1, channels) and other.shape[-1:] in ((), (other.data.size,))
    )
    if not is_row or result.shape != source.shape or result.dtype != "int8":
        return None
    return np.broadcast_to(other.real().astype(np.float64).reshape(-1), (channels,))


def _folded(graph: Graph, convolution: Op, affine: _Affine) -> Graph:
    weights, source = graph.tensors[str(weights_of(convolution))], graph.tensors[str(convolution.inputs[0])]
    assert weights.data is not None
    assert weights.quantization is not None
    assert source.quantization is not None
    axis, channels = LAYERS[convolution.kind].channel_axis, affine.gamma.size
    step = float(source.quantization.scale[0])
    before = np.broadcast_to(weights.quantization.scale.astype(np.float64), (channels,))
    old = bias_of(convolution)
    bias = np.zeros(channels) if old is None else graph.tensors[old].real().astype(np.float64).reshape(-1)
    bias = bias * affine.gamma + affine.beta
    # A bias far above tiny weights needs a coarser step; so does a channel that gamma takes out altogether.
    scales = np.maximum(before * np.abs(affine.gamma), np.maximum(np.abs(bias) / (_LARGEST_BIAS * step), 1e-12))
    shape = [-1 if dim == axis else 1 for dim in range(weights.data.ndim)]
    factors = (before * affine.gamma / scales).reshape(shape)
    data = np.clip(np.round(weights.data * factors), -_INT8_MAX, _INT8_MAX).astype(np.int8)
    scales32 = scales.astype(np.float32)
    made_weights = Tensor(
        graph.fresh_name(f"{weights.name}/folded"),
        weights.shape,
        "int8",
        Quantization.per_channel(scales32, axis),
        data,
    )
    bias_scales = (scales32 * np.float32(step)).astype(np.float32)
    steps = np.round(bias / bias_scales.astype(np.float64)).astype(np.int32)
    made_bias = Tensor(
        graph.fresh_name(f"{convolution.outputs[0]}/bias"),
        (channels,),
        "int32",
        Quantization.per_channel(bias_scales, 0),
        steps,
    )
    last = affine.ops[-1]
    folded = replace(
        convolution, inputs=(convolution.inputs[0], made_weights.name, made_bias.name), outputs=last.outputs
    ).with_options(activation=last.options.get("activation", "NONE"))
    gone = {id(op) for op in affine.ops}
    ops = [folded if op is convolution else op for op in graph.ops if id(op) not in gone]
    return graph.replaced(tensors=(made_weights, made_bias), ops=ops)
