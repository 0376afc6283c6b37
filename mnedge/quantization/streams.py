"""Activations whose channels can be scaled without changing the function, and the layers around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.ops import LAYERS, data_of, info, operands, weights_of
from mnedge.quantization.scheme import layers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op
    from mnedge.quantization.channels import ChannelMeasurements
    from mnedge.quantization.scheme import Layer


@dataclass(eq=False)
class Stream:
    """Activations that must be scaled together, the layers that make them and the layers that read them."""

    members: list[str]
    makers: list[Layer] = field(default_factory=list)
    readers: list[Layer] = field(default_factory=list)


def find_streams(graph: Graph) -> list[Stream]:
    """The sets of activations whose channels can be scaled, in order of execution."""
    activations = [*graph.inputs, *(name for op in graph.ops for name in op.outputs)]
    parent = {name: name for name in activations}
    pinned = {*graph.inputs, *graph.outputs}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for op in graph.ops:
        joined, fixed = _channel_ties(graph, op)
        for name in joined[1:]:
            parent[find(name)] = find(joined[0])
        pinned.update(fixed)
    roots = {find(name) for name in pinned if name in parent}
    streams: dict[str, Stream] = {}
    for name in activations:
        if find(name) not in roots:
            streams.setdefault(find(name), Stream([])).members.append(name)
    for layer in layers_of(graph):
        if find(layer.output) in streams:
            streams[find(layer.output)].makers.append(layer)
        if find(layer.data) in streams:
            streams[find(layer.data)].readers.append(layer)
    return [stream for stream in streams.values() if stream.makers and stream.readers]


def _channel_ties(graph: Graph, op: Op) -> tuple[list[str], list[str]]:
    """The activations around an op that are scaled together, and those that cannot be scaled because of it."""
    inputs = [name for name in op.inputs if name is not None and not graph.tensors[name].is_constant]
    around = [*inputs, *op.outputs]
    if op.kind in LAYERS:
        return [], _pinned_by_layer(graph, op, inputs)
    if op.kind == "MUL" and len(inputs) == 2:
        plain = op.options.get("activation", "NONE") == "NONE"
        return _product_ties(graph, inputs, op.outputs[0]) if plain else ([], around)
    return (around, []) if _commutes(graph, op, inputs) else ([], around)


def _pinned_by_layer(graph: Graph, op: Op, inputs: list[str]) -> list[str]:
    weights = graph.tensors[str(weights_of(op))]
    depth = graph.tensors[data_of(op)].shape[-1]
    if not weights.is_constant or op.options.get("activation") == "RELU_N1_TO_1":
        return [*inputs, *op.outputs]
    # With a channel multiplier, or an input that is flattened, channels and weights do not go one to one.
    one_to_one = op.kind == "CONV_2D" or depth == weights.shape[LAYERS[op.kind].input_axis]
    return [] if one_to_one else inputs


def _commutes(graph: Graph, op: Op, inputs: list[str]) -> bool:
    """Returns whether an op without weights commutes with a positive factor on each channel."""
    shapes = [graph.tensors[name].shape for name in (*inputs, *op.outputs)]
    if not all(shapes) or len({shape[-1] for shape in shapes}) != 1:
        return False
    row = info(op)
    # The bound of RELU6, like that of a layer's own activation, holds after scaling only as far as it is not reached.
    if row.channelwise and (row.homogeneous or op.kind in ("PRELU", "RELU6")):
        bounded = op.options.get("activation") == "RELU_N1_TO_1"
        # The slopes of PRELU are constant, other operands are activations.
        return not bounded and len(inputs) == (1 if op.kind == "PRELU" else len(operands(op)))
    if op.kind in ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"):
        rank = len(shapes[0])
        axes = {int(axis) % rank for axis in np.ravel(np.asarray(graph.tensors[str(op.inputs[1])].data))}
        return not axes & {0, rank - 1}
    if op.kind in ("RESHAPE", "SQUEEZE"):
        return all(int(np.prod(shape)) == shape[-1] for shape in shapes)
    if op.kind == "MUL":
        other = next((graph.tensors[str(name)] for name in op.inputs if name not in inputs), None)
        return other is not None and other.shape == () and op.options.get("activation", "NONE") == "NONE"
    return False


def _product_ties(graph: Graph, inputs: list[str], output: str) -> tuple[list[str], list[str]]:
    """Returns the gate of a product, its factor with an upper limit, which stays as it is."""
    producers = graph.producers()
    full = [name for name in inputs if graph.tensors[name].shape == graph.tensors[output].shape]
    gates = [
        name
        for name in inputs
        if name not in full or (name in producers and producers[name].options.get("activation") == "RELU6")
    ]
    scaled = [name for name in full if name not in gates]
    if len(set(inputs)) != 2 or len(scaled) != 1:
        return [], [*inputs, output]
    return [scaled[0], output], gates


def input_axis(layer: Layer) -> int:
    """Axis of the input channels in the weights of a layer."""
    return LAYERS[layer.op.kind].input_axis


def _divided(layer: Layer, weights: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that take a factor on each input channel back."""
    shape = [1] * weights.ndim
    shape[input_axis(layer)] = -1
    return np.asarray(weights / factors.reshape(shape))


def scale_stream(
    stream: Stream,
    factors: NDArray[np.float64],
    measured: ChannelMeasurements,
    weights: dict[str, NDArray[np.float64]],
    biases: dict[str, NDArray[np.float64]],
) -> None:
    """Scales the channels of a stream by positive factors (channels,), in place: makers times, readers divided.

    What was measured of its members is scaled with them.
    """
    for layer in stream.makers:
        shape = [1] * weights[layer.weights].ndim
        shape[layer.axis] = -1
        weights[layer.weights] = weights[layer.weights] * factors.reshape(shape)
        biases[layer.bias] = biases[layer.bias] * factors
    for layer in stream.readers:
        weights[layer.weights] = _divided(layer, weights[layer.weights], factors)
    for name in stream.members:
        measured.scale(name, factors)
