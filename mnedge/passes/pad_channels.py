"""Channels of depthwise convolutions, filled up to a multiple of 16 with channels that count for nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.ops import LAYERS, bias_of, operands, weights_of

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op, Quantization, Tensor

_MULTIPLE = 16
# Ops through which a channel is followed.
_FOLLOWED = ("ADD", "DEPTHWISE_CONV_2D", "MEAN", "MUL", "RELU", "RELU6", "SUB")


def apply(graph: Graph) -> Graph:
    """Widens the layers around each quantized DEPTHWISE_CONV_2D to a multiple of 16 channels.

    Exact. The convolutions that make the new channels have zero weights and biases there, and those that read them
    multiply them by zero weights. ONNX Runtime's depthwise kernel for x86 takes 16 channels at once and handles the
    rest one by one: 88 channels take 2.5 times as long as 96.
    """
    for group in _groups(graph):
        graph = _widened(graph, group)
    return graph


@dataclass
class _Group:
    """Activations that have the same channels, and the ops around them.

    Attributes:
        channels: Number of their channels.
        tensors: The activations.
        inner: Channelwise ops among them.
        makers: Convolutions whose output channels they are.
        readers: Convolutions whose input channels they are.
        closed: Whether nothing else makes or reads them.
    """

    channels: int
    tensors: list[str] = field(default_factory=list)
    inner: list[Op] = field(default_factory=list)
    makers: list[Op] = field(default_factory=list)
    readers: list[Op] = field(default_factory=list)
    closed: bool = True


def _groups(graph: Graph) -> list[_Group]:
    """The groups that should and can be widened."""
    parent = {name: name for name, tensor in graph.tensors.items() if not tensor.is_constant}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for op in graph.ops:
        if _is_inner(graph, op):
            for name in op.inputs:
                if name in parent:
                    parent[find(name)] = find(op.outputs[0])
    groups: dict[str, _Group] = {}
    for name in parent:
        shape = graph.tensors[name].shape
        groups.setdefault(find(name), _Group(shape[-1] if shape else 0)).tensors.append(name)
    for name in parent.keys() & {*graph.inputs, *graph.outputs}:
        groups[find(name)].closed = False
    for op in graph.ops:
        _place(graph, op, {name: groups[find(name)] for name in (*op.inputs, *op.outputs) if name in parent})
    return [group for group in groups.values() if group.closed and _should_widen(group)]


def _is_inner(graph: Graph, op: Op) -> bool:
    if op.kind not in _FOLLOWED:
        return False
    shapes = [graph.tensors[name].shape for name in (str(op.inputs[0]), op.outputs[0])]
    if any(len(shape) != 4 for shape in shapes) or shapes[0][3] != shapes[1][3]:
        return False
    if op.kind == "DEPTHWISE_CONV_2D":
        return graph.tensors[str(weights_of(op))].is_constant
    return all(
        (graph.tensors[name].is_constant or graph.tensors[name].shape[-1] == shapes[0][3]) for name in operands(op)
    )


def _place(graph: Graph, op: Op, groups: dict[str, _Group]) -> None:
    result = groups[op.outputs[0]]
    if _is_inner(graph, op):
        result.inner.append(op)
    elif op.kind == "CONV_2D" and _is_plain(graph, op):
        groups[str(op.inputs[0])].readers.append(op)
        result.makers.append(op)
    else:
        for group in groups.values():
            group.closed = False


def _is_plain(graph: Graph, op: Op) -> bool:
    """Returns whether a convolution has weights of its own, for all channels of its input, with zero points 0."""
    weights = graph.tensors[str(weights_of(op))]
    return (
        weights.is_constant
        and weights.quantization is not None
        and not np.any(weights.quantization.zero_point)
        and weights.shape[3] == graph.tensors[str(op.inputs[0])].shape[3]
        and weights.name not in graph.outputs
        and sum(weights.name in other.inputs for other in graph.ops) == 1
    )


def _should_widen(group: _Group) -> bool:
    return group.channels % _MULTIPLE != 0 and any(op.kind == "DEPTHWISE_CONV_2D" for op in group.inner)


def _widened(graph: Graph, group: _Group) -> Graph:
    more = -group.channels % _MULTIPLE
    changed: dict[str, Tensor] = {}
    for name, axis in _channel_axes(graph, group):
        tensor = changed.get(name, graph.tensors[name])
        widths = [(0, more * (dim == axis)) for dim in range(len(tensor.shape))]
        shape = tuple(extent + after for extent, (_, after) in zip(tensor.shape, widths, strict=True))
        data = None if tensor.data is None else np.pad(tensor.data, widths)
        quantization = _with_more(tensor.quantization, axis, more)
        changed[name] = replace(tensor, shape=shape, data=data, quantization=quantization)
    return graph.replaced(tensors=changed.values())


def _channel_axes(graph: Graph, group: _Group) -> list[tuple[str, int]]:
    """The tensors that hold the group's channels, each with the axis that they run along."""
    found = [(name, 3) for name in group.tensors]
    for op in (*group.makers, *(op for op in group.inner if op.kind == "DEPTHWISE_CONV_2D")):
        found.append((str(weights_of(op)), LAYERS[op.kind].channel_axis))
        found += [(name, 0) for name in (bias_of(op),) if name is not None]
    found += [(str(weights_of(op)), LAYERS[op.kind].input_axis) for op in group.readers]
    for op in group.inner:
        tensors = [graph.tensors[name] for name in operands(op)]
        found += [
            (tensor.name, len(tensor.shape) - 1)
            for tensor in tensors
            if tensor.is_constant and tensor.shape and tensor.shape[-1] == group.channels
        ]
    return list(dict.fromkeys(found))


def _with_more(quantization: Quantization | None, axis: int, more: int) -> Quantization | None:
    """Scales for the new channels too, where they run along `axis`; they repeat the last one."""
    if quantization is None or quantization.axis != axis:
        return quantization
    scale = np.pad(quantization.scale, (0, more), mode="edge").astype(np.float32)
    zero_point = np.pad(quantization.zero_point, (0, more), mode="edge").astype(np.int64)
    return replace(quantization, scale=scale, zero_point=zero_point)
