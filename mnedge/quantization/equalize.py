"""Cross-layer equalization: channels scaled so that one range, and one weight scale, fits them all."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.quantization.channels import ChannelMeasurements, channel_statistics, sensitivities
from mnedge.quantization.scheme import MOST_STEPS, MOST_STEPS_OF_4_BITS, layers_of, with_own_constants
from mnedge.quantization.streams import Stream, find_streams, input_axis, scale_stream

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.choices import Granularity
    from mnedge.graph.graph import Graph
    from mnedge.quantization.channels import ChannelStatistics
    from mnedge.quantization.scheme import Layer

log = logging.getLogger(__name__)

_EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SHARES = (0.25, 0.5, 0.7, 1.4, 2.0, 4.0)
_LARGEST_FACTOR = 64.0


class Equalized(NamedTuple):
    """An equalized float graph, and the cost of noise in each channel of its activations (`channels.sensitivities`).

    The costs are left out where nothing is equalized and the graph cannot be differentiated picture by picture.
    """

    graph: Graph
    sensitivity: dict[str, NDArray[np.float64]]


def equalize(graph: Graph, images: Samples, granularity: Granularity, int4: frozenset[str] = frozenset()) -> Equalized:
    """Scales the channels between layers so that the noise of int8 becomes least; the function stays the same.

    A positive factor on a channel passes through ReLU, pooling, sums and gates, and can be taken back in the
    weights of whatever reads the channel: Nagel et al. 2019, section 4.1, arXiv:1906.04721. There the factors
    equalize the ranges of two weight tensors; here they are chosen among powers of the channel's activation
    range and of both weights' ranges by a model of the noise (`_noise`) that counts the rounding of the
    activation too, as Xiao et al. 2023 (SmoothQuant), eq. 4, arXiv:2211.10438, do for transformers, and each
    noise by what it costs the network's outputs (`channels.sensitivities`). Streams below a ReLU6 are scaled
    only where the weights have one scale for all: a channel that reaches 6 is left alone, and the others are scaled
    to at most 6.

    Args:
        graph: Float graph.
        images: float32 (N, H, W, C), or a `Batch`.
        granularity: Granularity of the weight scales that will follow.
        int4: Outputs of the layers whose weights will have 4 bits.

    Returns:
        The graph, and what noise costs in it.
    """
    graph = with_own_constants(graph)
    per_channel = granularity == "per-channel"
    streams = [stream for stream in find_streams(graph) if not (per_channel and _is_limited(graph, stream))]
    made = {name for op in graph.ops for name in op.outputs if graph.tensors[name].dtype == "float32"}
    if not streams:
        return Equalized(graph, _known_sensitivities(graph, made, images))
    measured = _measured(graph, streams, images, granularity, made)
    weights = {layer.weights: graph.tensors[layer.weights].real().astype(np.float64) for layer in layers_of(graph)}
    biases = {layer.bias: graph.tensors[layer.bias].real().astype(np.float64) for layer in layers_of(graph)}
    # Per tensor, the factors of one stream change the weight range that the next one sees.
    for _ in range(1 if per_channel else 3):
        for stream in streams:
            factors = _best_factors(graph, stream, measured, weights, granularity, int4)
            scale_stream(stream, factors, measured, weights, biases)
    changed = {**weights, **biases}
    tensors = [replace(graph.tensors[name], data=value.astype(np.float32)) for name, value in changed.items()]
    return Equalized(graph.replaced(tensors=tensors), measured.sensitivity)


def _known_sensitivities(graph: Graph, names: Collection[str], images: Samples) -> dict[str, NDArray[np.float64]]:
    """See `channels.sensitivities`; none where the graph cannot be differentiated picture by picture."""
    try:
        return sensitivities(graph, names, images)
    except UnsupportedError as exc:
        log.info("the channels of an activation count alike in its range: %s", exc)
        return {}


def noise_gains(graph: Graph, members: list[str], images: Samples) -> dict[str, float]:
    """Estimates the gain of equalizing the stream of an activation: how much less its noise costs the outputs.

    Args:
        graph: Float graph.
        members: Activations.
        images: float32 (N, H, W, C); the first 64 are used.

    Returns:
        Nats by activation; 0 where its channels cannot be scaled.
    """
    graph = with_own_constants(graph)
    streams = [stream for stream in find_streams(graph) if not set(members).isdisjoint(stream.members)]
    measured = _measured(graph, streams, images[:64], "per-channel")
    weights = {layer.weights: graph.tensors[layer.weights].real().astype(np.float64) for layer in layers_of(graph)}
    gains = dict.fromkeys(members, 0.0)
    for stream in streams:
        factors = _best_factors(graph, stream, measured, weights, "per-channel")
        readings = [_reading(layer, weights[layer.weights], measured) for layer in stream.readers]
        before, after = (
            _noise(stream, scale, measured, weights, readings, "per-channel")
            for scale in (np.ones_like(factors), factors)
        )
        gains.update({name: before - after for name in members if name in stream.members})
    return gains


def _measured(
    graph: Graph, streams: list[Stream], images: Samples, granularity: Granularity, also: Iterable[str] = ()
) -> ChannelMeasurements:
    """Inputs of the noise around these streams, and what noise costs in other activations that are asked for."""
    seen = {name for stream in streams for name in stream.members}
    costly = seen.union((layer.output for stream in streams for layer in stream.readers), also)
    if granularity == "per-tensor":
        seen |= {layer.data for stream in streams for layer in stream.makers}
    return ChannelMeasurements(
        channel_statistics(graph, sorted(seen), images), sensitivities(graph, sorted(costly), images)
    )


def _best_factors(
    graph: Graph,
    stream: Stream,
    measured: ChannelMeasurements,
    weights: dict[str, NDArray[np.float64]],
    granularity: Granularity,
    int4: frozenset[str] = frozenset(),
) -> NDArray[np.float64]:
    """Factors (channels,) of least noise: powers of the channels' sizes, and how much each end counts in a size.

    Channels are told apart by how much of the range they use, and the range has two ends in every member of the
    stream. Which end deserves to be small is searched one after the other.
    """
    ends = _ends(stream, measured.statistics)
    made = np.max([_per_output(layer, weights[layer.weights]) for layer in stream.makers], axis=0)
    read = np.max([_per_input(layer, weights[layer.weights]) for layer in stream.readers], axis=0)
    limit = _upper_limit(graph, stream, measured.statistics)
    readings = [_reading(layer, weights[layer.weights], measured, int4) for layer in stream.readers]

    def search(share: NDArray[np.float64], exponents: Iterable[tuple[float, float, float]]) -> _Choice:
        size = np.max(ends * share[:, None], axis=0)
        choices = []
        for activation, maker, reader in exponents:
            factors = _power(size, -activation) * _power(made, -maker) * _power(read, reader)
            factors = np.clip(factors, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
            # With a limit (ReLU6) the scale of all factors matters too; without one it does not.
            for shift in (1.0,) if np.all(np.isinf(limit)) else (0.25, 0.5, 1.0, 2.0, 4.0, 16.0):
                limited = np.where(limit == 1.0, 1.0, np.minimum(factors * shift, limit))
                noise = _noise(stream, limited, measured, weights, readings, granularity)
                choices.append(_Choice(noise, limited, maker, reader))
        return min(choices, key=lambda choice: choice.noise)

    share = np.ones(len(ends))
    weight_exponents = (0.0,) if granularity == "per-channel" else _EXPONENTS
    best = search(share, product(_EXPONENTS, weight_exponents, _EXPONENTS))
    for end, factor in product(range(len(ends)), _SHARES if len(ends) > 1 else ()):
        changed = share.copy()
        changed[end] *= factor
        found = search(changed, product(_EXPONENTS, (best.maker,), (best.reader,)))
        if found.noise < 0.999 * best.noise:
            best, share = found, changed
    return best.factors


class _Choice(NamedTuple):
    """Factors (channels,), their noise in nats, and the exponents of the makers' and the readers' weights."""

    noise: float
    factors: NDArray[np.float64]
    maker: float
    reader: float


def _ends(stream: Stream, statistics: dict[str, ChannelStatistics]) -> NDArray[np.float64]:
    """(ends, channels): how far each channel reaches, of the largest 1, to either side in every member."""
    reaches = []
    for name in stream.members:
        reaches += [np.maximum(-statistics[name].typical_low, 0.0), np.maximum(statistics[name].typical_high, 0.0)]
    alive = [reach / reach.max() for reach in reaches if reach.max() > 0]
    return np.stack(alive) if alive else np.ones((1, statistics[stream.members[0]].power.size))


def _power(values: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Values over their geometric mean, to a power; dead channels count as a thousandth of the largest."""
    alive = np.maximum(values, max(float(values.max()) * 1e-3, 1e-12))
    return np.asarray((alive / np.exp(np.log(alive).mean())) ** exponent)


def _is_limited(graph: Graph, stream: Stream) -> bool:
    """Returns whether ReLU6 bounds a stream.

    Up to 6 its channels share the steps well, and scaled, pictures that go further than those of calibration
    would be clipped where float does not.
    """
    producers = graph.producers()
    ops = [producers[name] for name in stream.members if name in producers]
    return any(op.kind == "RELU6" or op.options.get("activation") == "RELU6" for op in ops)


def _upper_limit(graph: Graph, stream: Stream, statistics: dict[str, ChannelStatistics]) -> NDArray[np.float64]:
    """Largest factor of each channel under ReLU6: exactly 1 for a channel that reaches 6."""
    limit = np.full(statistics[stream.members[0]].power.size, np.inf)
    for name, op in graph.producers().items():
        if name in stream.members and (op.options.get("activation") == "RELU6" or op.kind == "RELU6"):
            largest = statistics[name].high
            limit = np.minimum(limit, np.where(largest >= 5.99, 1.0, 6.0 / np.maximum(largest, 1e-6)))
    return limit


@dataclass(frozen=True, eq=False)
class _Reading:
    """Inputs of the rounding noise of a reader's weights.

    Attributes:
        depthwise: Whether each channel has an output of its own.
        largest: (outputs, channels) largest |weight| between the two; (1, channels) of a depthwise layer.
        taps: Weights for each pair.
        power: (channels,) of the layer's input.
        sensitivity: (outputs,) of the layer's output.
        most: The largest weight in steps.
    """

    depthwise: bool
    largest: NDArray[np.float64]
    taps: int
    power: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    most: int = MOST_STEPS


def _reading(
    layer: Layer,
    weights: NDArray[np.float64],
    measured: ChannelMeasurements,
    int4: frozenset[str] = frozenset(),
) -> _Reading:
    channels = input_axis(layer)
    first = np.moveaxis(np.abs(weights), channels, -1)
    depthwise = layer.op.kind == "DEPTHWISE_CONV_2D"
    if depthwise:
        pairs = first.reshape(1, -1, first.shape[-1])
    else:
        outputs = layer.axis if layer.axis < channels else layer.axis - 1
        pairs = np.moveaxis(first, outputs, 0).reshape(weights.shape[layer.axis], -1, first.shape[-1])
    power, sensitivity = measured.statistics[layer.data].power, measured.sensitivity[layer.output]
    most = MOST_STEPS_OF_4_BITS if layer.output in int4 else MOST_STEPS
    return _Reading(depthwise, pairs.max(axis=1), pairs.shape[1], power, sensitivity, most)


def _noise(
    stream: Stream,
    factors: NDArray[np.float64],
    measured: ChannelMeasurements,
    weights: dict[str, NDArray[np.float64]],
    readings: list[_Reading],
    granularity: Granularity,
) -> float:
    """Returns the cost of the rounding around a stream at the network's outputs, nats.

    Rounding to a step s adds noise of power s^2/12 (Widrow 1956): that of the activations, that of the readers'
    weights, which arrives through the activation's power, and with per-tensor scales that of the makers' weights.
    """
    total = 0.0
    for name in stream.members:
        found = measured.statistics[name]
        high, low = (found.typical_high * factors).max(), (found.typical_low * factors).min()
        step = (max(float(high), 0.0) - min(float(low), 0.0)) / 255
        total += step**2 / 12 * float((measured.sensitivity[name] / factors**2).sum())
    for layer in stream.makers if granularity == "per-tensor" else ():
        largest = float((_per_output(layer, weights[layer.weights]) * factors).max()) / 127
        noise = largest**2 / 12 * _power_in(layer, weights[layer.weights], measured.statistics)
        total += float((noise * measured.sensitivity[layer.output] / factors**2).sum())
    for reading in readings:
        scaled, power = reading.largest / factors, reading.power * factors**2 * reading.taps
        if reading.depthwise and reading.taps == 1 and granularity == "per-channel":
            continue  # a weight alone on its scale is exact
        steps, arriving = (scaled[0], power) if reading.depthwise else (scaled.max(axis=1), power.sum())
        if granularity == "per-tensor":
            steps = np.full(steps.shape, steps.max())
        total += float(((steps / reading.most) ** 2 / 12 * arriving * reading.sensitivity).sum())
    return total


def _power_in(
    layer: Layer, weights: NDArray[np.float64], statistics: dict[str, ChannelStatistics]
) -> NDArray[np.float64]:
    power = statistics[layer.data].power
    if layer.op.kind == "DEPTHWISE_CONV_2D":
        spread: NDArray[np.float64] = np.repeat(power, weights.shape[3] // power.size)
        return np.asarray(spread * weights.shape[1] * weights.shape[2])
    return np.asarray(power.sum() * weights.size / (weights.shape[layer.axis] * power.size))


def _per_output(layer: Layer, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs(weights).max(axis=tuple(axis for axis in range(weights.ndim) if axis != layer.axis)))


def _per_input(layer: Layer, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    axes = tuple(axis for axis in range(weights.ndim) if axis != input_axis(layer))
    return np.asarray(np.abs(weights).max(axis=axes))
