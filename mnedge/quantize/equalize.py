"""Cross-layer equalization: channels scaled so that one range, and one weight scale, fits them all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.graph.executor import execute
from mnedge.quantize.scheme import WEIGHTED, layers_of, with_own_constants

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op
    from mnedge.quantize.scheme import Granularity, Layer

_EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LARGEST_FACTOR = 64.0
_INPUT_AXIS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 3}
# Ops that commute with a positive factor on each channel.
_CHANNELWISE: tuple[str, ...] = ("ADD", "SUB", "AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "QUANTIZE", "RELU", "RELU6")
_CHANNELWISE += ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Of one activation, channel by channel, over calibration images.

    Attributes:
        largest: Largest |x|.
        typical: Mean over the images of the largest |x|.
        power: Mean of x^2.
        lowest: Least x.
    """

    largest: NDArray[np.float64]
    typical: NDArray[np.float64]
    power: NDArray[np.float64]
    lowest: NDArray[np.float64]


@dataclass(eq=False)
class Stream:
    """Activations that must be scaled together, the layers that make them and the layers that read them."""

    members: list[str]
    makers: list[Layer] = field(default_factory=list)
    readers: list[Layer] = field(default_factory=list)


def equalize(graph: Graph, images: NDArray[np.float32], granularity: Granularity) -> Graph:
    """Scales the channels between layers so that the noise of int8 becomes least; the function stays the same.

    A positive factor on a channel passes through ReLU, pooling, sums and gates, and can be taken back in the
    weights of whatever reads the channel: Nagel et al. 2019, section 4.1, arXiv:1906.04721. There the factors
    equalize the ranges of two weight tensors; here they are chosen among powers of the channel's activation
    range and of both weights' ranges by a model of the noise (`_noise`) that counts the rounding of the
    activation too, as Xiao et al. 2023 (SmoothQuant), eq. 4, arXiv:2211.10438, do for transformers. A channel
    that reaches ReLU6's 6 is left alone, and the others are scaled to at most 6.

    Args:
        graph: Float graph.
        images: float32 (N, H, W, C).
        granularity: Of the weight scales that will follow.

    Returns:
        The equalized float graph.
    """
    graph = with_own_constants(graph)
    streams = find_streams(graph)
    statistics = _stream_statistics(graph, streams, images)
    weights = {layer.weights: graph.tensors[layer.weights].real().astype(np.float64) for layer in layers_of(graph)}
    biases = {layer.bias: graph.tensors[layer.bias].real().astype(np.float64) for layer in layers_of(graph)}
    # Per tensor, the factors of one stream change the weight range that the next one sees.
    for _ in range(1 if granularity == "per-channel" else 3):
        for stream in streams:
            factors = _best_factors(graph, stream, statistics, weights, granularity)
            scale_stream(stream, factors, statistics, weights, biases)
    changed = {**weights, **biases}
    return graph.replaced(
        tensors=[replace(graph.tensors[name], data=value.astype(np.float32)) for name, value in changed.items()]
    )


def noise_gains(graph: Graph, members: list[str], images: NDArray[np.float32]) -> dict[str, float]:
    """By how much equalizing the stream of an activation would lower the noise at its readers' outputs.

    Args:
        graph: Float graph.
        members: Activations.
        images: float32 (N, H, W, C); the first 64 are used.

    Returns:
        Fall of the relative noise power by activation; 0 where its channels cannot be scaled.
    """
    graph = with_own_constants(graph)
    streams = find_streams(graph)
    statistics = _stream_statistics(graph, streams, images[:64])
    weights = {layer.weights: graph.tensors[layer.weights].real().astype(np.float64) for layer in layers_of(graph)}
    gains = dict.fromkeys(members, 0.0)
    for stream in streams:
        inside = [name for name in members if name in stream.members]
        if inside:
            factors = _best_factors(graph, stream, statistics, weights, "per-channel")
            before = _noise(stream, np.ones_like(factors), statistics, weights, "per-channel")
            gain = before - _noise(stream, factors, statistics, weights, "per-channel")
            # Of a reader that makes nothing but zeros, noise relative to its signal says nothing.
            gains.update(dict.fromkeys(inside, gain if np.isfinite(gain) and gain < 1.0 else 0.0))
    return gains


def _stream_statistics(
    graph: Graph, streams: list[Stream], images: NDArray[np.float32]
) -> dict[str, ChannelStatistics]:
    names = {name for stream in streams for name in stream.members}
    names |= {name for layer in layers_of(graph) for name in (layer.data, layer.output)}
    return channel_statistics(graph, sorted(names), images)


def channel_statistics(
    graph: Graph, names: list[str], images: NDArray[np.float32], batch: int = 16
) -> dict[str, ChannelStatistics]:
    """Statistics of some activations of a float graph, channel by channel."""
    import tensorflow as tf

    shape = (None, *graph.tensors[graph.inputs[0]].shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
    def run(pictures: Any) -> Any:  # noqa: ANN401 - tensors
        env = execute(graph, {graph.inputs[0]: pictures})
        found = {}
        for name in names:
            axes = list(range(1, len(env[name].shape) - 1))
            found[name] = (
                tf.reduce_max(tf.abs(env[name]), axes),
                tf.reduce_mean(tf.square(env[name]), axes),
                tf.reduce_min(env[name], axes),
            )
        return found

    seen: dict[str, list[list[NDArray[np.float32]]]] = {name: [] for name in names}
    for start in range(0, len(images), batch):
        for name, sums in run(tf.constant(images[start : start + batch])).items():
            seen[name].append([value.numpy() for value in sums])
    result = {}
    for name, found in seen.items():
        largest, power, lowest = (np.concatenate(parts).astype(np.float64) for parts in zip(*found, strict=True))
        result[name] = ChannelStatistics(largest.max(0), largest.mean(0), power.mean(0), lowest.min(0))
    return result


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
    if op.kind in WEIGHTED:
        return [], _pinned_by_layer(graph, op, inputs)
    if op.kind == "MUL" and len(inputs) == 2:
        plain = op.options.get("activation", "NONE") == "NONE"
        return _product_ties(graph, inputs, op.outputs[0]) if plain else ([], around)
    return (around, []) if _commutes(graph, op, inputs) else ([], around)


def _pinned_by_layer(graph: Graph, op: Op, inputs: list[str]) -> list[str]:
    weights = graph.tensors[str(op.inputs[WEIGHTED[op.kind][0]])]
    depth = graph.tensors[str(op.inputs[WEIGHTED[op.kind][3]])].shape[-1]
    if not weights.is_constant or op.options.get("activation") == "RELU_N1_TO_1":
        return [*inputs, *op.outputs]
    # With a channel multiplier, or an input that is flattened, channels and weights do not go one to one.
    one_to_one = op.kind == "CONV_2D" or depth == weights.shape[_INPUT_AXIS[op.kind]]
    return [] if one_to_one else inputs


def _commutes(graph: Graph, op: Op, inputs: list[str]) -> bool:
    """Whether an op without weights may be exchanged with a positive factor on each channel."""
    shapes = [graph.tensors[name].shape for name in (*inputs, *op.outputs)]
    if not all(shapes) or len({shape[-1] for shape in shapes}) != 1:
        return False
    if op.kind in _CHANNELWISE:
        bounded = op.options.get("activation") == "RELU_N1_TO_1"
        return not bounded and len(inputs) == (2 if op.kind in ("ADD", "SUB") else 1)
    if op.kind == "MEAN":
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
    """Of the two factors of a product, the one with an upper limit is the gate and stays as it is."""
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


def _best_factors(
    graph: Graph,
    stream: Stream,
    statistics: dict[str, ChannelStatistics],
    weights: dict[str, NDArray[np.float64]],
    granularity: Granularity,
) -> NDArray[np.float64]:
    typical = np.max([statistics[name].typical for name in stream.members], axis=0)
    made = np.max([_per_output(layer, weights[layer.weights]) for layer in stream.makers], axis=0)
    read = np.max([_per_input(layer, weights[layer.weights]) for layer in stream.readers], axis=0)
    limit = _upper_limit(graph, stream, statistics)
    weight_exponents = (0.0,) if granularity == "per-channel" else _EXPONENTS
    best, found = np.inf, np.ones(typical.size)
    for activation, maker, reader in product(_EXPONENTS, weight_exponents, _EXPONENTS):
        factors = _power(typical, -activation) * _power(made, -maker) * _power(read, reader)
        factors = np.clip(factors, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
        # With a limit (ReLU6) the scale of all factors matters too; without one it does not.
        for shift in (1.0,) if np.all(np.isinf(limit)) else (0.25, 0.5, 1.0, 2.0, 4.0, 16.0):
            limited = np.where(limit == 1.0, 1.0, np.minimum(factors * shift, limit))
            noise = _noise(stream, limited, statistics, weights, granularity)
            if noise < best * 0.999:
                best, found = noise, limited
    return found


def _power(values: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Values over their geometric mean, to a power; dead channels count as a thousandth of the largest."""
    alive = np.maximum(values, max(float(values.max()) * 1e-3, 1e-12))
    return np.asarray((alive / np.exp(np.log(alive).mean())) ** exponent)


def _upper_limit(graph: Graph, stream: Stream, statistics: dict[str, ChannelStatistics]) -> NDArray[np.float64]:
    """Largest factor of each channel under ReLU6: exactly 1 for a channel that reaches 6."""
    limit = np.full(statistics[stream.members[0]].largest.size, np.inf)
    for name, op in graph.producers().items():
        if name in stream.members and (op.options.get("activation") == "RELU6" or op.kind == "RELU6"):
            largest = statistics[name].largest
            limit = np.minimum(limit, np.where(largest >= 5.99, 1.0, 6.0 / np.maximum(largest, 1e-6)))
    return limit


def _noise(
    stream: Stream,
    factors: NDArray[np.float64],
    statistics: dict[str, ChannelStatistics],
    weights: dict[str, NDArray[np.float64]],
    granularity: Granularity,
) -> float:
    """Noise power that int8 puts on the outputs of a stream's readers, relative to their signal.

    Rounding to a step s adds s^2/12 (Widrow 1956). The activation's rounding and, with per-tensor scales, that
    of the makers' weights arrive through the readers' weights; that of the readers' weights arrives through the
    activation's power.
    """
    step = max(float((statistics[name].typical * factors).max()) for name in stream.members) / 255
    variance = np.full(factors.size, step**2 / 12)
    for layer in stream.makers if granularity == "per-tensor" else ():
        largest = float((_per_output(layer, weights[layer.weights]) * factors).max()) / 127
        variance = variance + largest**2 / 12 * _power_in(layer, weights[layer.weights], statistics)
    total = 0.0
    for layer in stream.readers:
        scaled = _divided(layer, weights[layer.weights], factors)
        squares = (scaled**2).sum(axis=tuple(axis for axis in range(scaled.ndim) if axis != _input_axis(layer)))
        noise = float((variance * squares).sum())
        taps = scaled.size / (scaled.shape[layer.axis] * (1 if layer.op.kind == "DEPTHWISE_CONV_2D" else factors.size))
        power = statistics[layer.data].power * factors**2 * taps
        largest_of = np.abs(scaled).max(axis=tuple(axis for axis in range(scaled.ndim) if axis != layer.axis))
        steps = largest_of / 127 if granularity == "per-channel" else np.full(largest_of.shape, largest_of.max() / 127)
        if layer.op.kind == "DEPTHWISE_CONV_2D":
            noise += float((steps**2 / 12 * power).sum())
        else:
            noise += float((steps**2 / 12).sum() * power.sum())
        total += noise / max(float(statistics[layer.output].power.sum()), 1e-12)
    return total


def _power_in(layer: Layer, weights: NDArray[np.float64], statistics: dict[str, ChannelStatistics]) -> Any:  # noqa: ANN401
    power = statistics[layer.data].power
    if layer.op.kind == "DEPTHWISE_CONV_2D":
        return power * weights.shape[1] * weights.shape[2]
    return power.sum() * weights.size / (weights.shape[layer.axis] * power.size)


def _input_axis(layer: Layer) -> int:
    return _INPUT_AXIS[layer.op.kind]


def _per_output(layer: Layer, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs(weights).max(axis=tuple(axis for axis in range(weights.ndim) if axis != layer.axis)))


def _per_input(layer: Layer, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    axes = tuple(axis for axis in range(weights.ndim) if axis != _input_axis(layer))
    return np.asarray(np.abs(weights).max(axis=axes))


def _divided(layer: Layer, weights: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that take a factor on each input channel back."""
    shape = [1] * weights.ndim
    shape[_input_axis(layer)] = -1
    return np.asarray(weights / factors.reshape(shape))


def scale_stream(
    stream: Stream,
    factors: NDArray[np.float64],
    statistics: dict[str, ChannelStatistics],
    weights: dict[str, NDArray[np.float64]],
    biases: dict[str, NDArray[np.float64]],
) -> None:
    """Scales the channels of a stream by positive factors (channels,), in place: makers times, readers divided."""
    for layer in stream.makers:
        shape = [1] * weights[layer.weights].ndim
        shape[layer.axis] = -1
        weights[layer.weights] = weights[layer.weights] * factors.reshape(shape)
        biases[layer.bias] = biases[layer.bias] * factors
    for layer in stream.readers:
        weights[layer.weights] = _divided(layer, weights[layer.weights], factors)
    for name in stream.members:
        found = statistics[name]
        statistics[name] = ChannelStatistics(
            found.largest * factors, found.typical * factors, found.power * factors**2, found.lowest * factors
        )
