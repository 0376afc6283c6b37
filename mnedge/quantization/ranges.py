"""The range of every activation: min-max, percentile or least squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.errors import InputError
from mnedge.graph.ops import LAYERS, data_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op
    from mnedge.quantization.calibrate import Statistics
    from mnedge.quantization.intervals import Interval
    from mnedge.quantization.scheme import Scheme

RangeMethod = Literal["min-max", "percentile", "mse", "output"]
RANGE_METHODS: tuple[RangeMethod, ...] = ("min-max", "percentile", "mse", "output")

_BINS = 2048
_AMPLIFYING = ("BATCH_MATMUL", "EXP", "SQUARED_DIFFERENCE")
_SHRINK = np.linspace(0.15, 1.0, 35)


def min_max(statistics: Statistics) -> Interval:
    """The smallest and the largest value seen. Krishnamoorthi 2018, section 2.1, arXiv:1806.08342."""
    return min(statistics.low, 0.0), max(statistics.high, 0.0)


def percentile(statistics: Statistics, outside_fraction: float = 1e-4) -> Interval:
    """The interval that leaves `outside_fraction` of the values out at each end.

    Wu et al. 2020, section 4.1, arXiv:2004.09602.
    """
    low, high = np.quantile(statistics.values, [outside_fraction, 1 - outside_fraction])
    return min(float(low), 0.0), max(float(high), 0.0)


def least_squares(statistics: Statistics, importance: Mapping[str, NDArray[np.float64]] | None = None) -> Interval:
    """The interval whose int8 grid has the least mean squared error on the values seen.

    Banner et al. 2019, section 3, arXiv:1810.05723, searched on a grid of both ends instead of assuming a
    distribution.

    Args:
        statistics: Values seen.
        importance: Weight of an error in each channel, by member; all alike by default.
    """
    low, high = min_max(statistics)
    if high - low < 1e-12:
        return low, high
    counts = np.zeros(_BINS)
    for name, values in statistics.samples.items():
        weights = None if importance is None else np.broadcast_to(importance[name], values.shape)
        counts += np.histogram(values, _BINS, (low, high), weights=weights)[0]
    edges = np.linspace(low, high, _BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    used = counts > 0
    centres, counts = centres[used], counts[used]
    lows = low * _SHRINK if low < 0 else np.zeros(1)
    highs = high * _SHRINK if high > 0 else np.zeros(1)
    # What lies outside is lost whatever the steps are, but for half a step by which rounding 0 shifts them: most
    # candidates need no closer look.
    half = (high - low) / 255 / 2
    below = [np.dot(counts, np.minimum(centres - (end - half), 0) ** 2) for end in lows]
    above = [np.dot(counts, np.maximum(centres - (end + half), 0) ** 2) for end in highs]
    pairs = ((under + over, row, column) for row, under in enumerate(below) for column, over in enumerate(above))
    best, found = np.inf, (low, high)
    for least, row, column in sorted(pairs):
        if least >= best:
            break
        error = squared_error(centres, counts, lows[row], highs[column])
        if error < best:
            best, found = error, (float(lows[row]), float(highs[column]))
    return found


def squared_error(values: NDArray[np.float64], counts: NDArray[np.float64], low: float, high: float) -> float:
    """Sum of squared differences between values and their int8 steps on [low, high], weighted by counts."""
    scale = (high - low) / 255
    if scale <= 0:
        return np.inf
    zero = np.round(-low / scale)
    steps = np.clip(np.round(values / scale) + zero, 0, 255)
    return float(np.dot(counts, ((steps - zero) * scale - values) ** 2))


def choose_ranges(scheme: Scheme, statistics: Mapping[str, Statistics], method: str = "mse") -> dict[str, Interval]:
    """Range of every free group by one method; groups of constants always get min and max.

    Raises:
        InputError: Unknown method.
    """
    if method not in RANGE_METHODS:
        raise InputError.unknown("range method", method, RANGE_METHODS)
    importance = channel_importance(scheme.graph, statistics) if method == "output" else None
    kept_whole = _kept_whole(scheme)
    ranges = {}
    for name in scheme.free_groups:
        found = statistics[name]
        whole = method == "min-max" or (method == "output" and name in kept_whole)
        if whole or scheme.graph.tensors[name].is_constant:
            ranges[name] = min_max(found)
        elif method == "percentile":
            ranges[name] = percentile(found)
        else:
            ranges[name] = least_squares(found, importance)
    return ranges


def _kept_whole(scheme: Scheme) -> set[str]:
    """Groups whose extremes decide.

    Scores, of which the largest is the answer; what ReLU6 bounds already; and what is squared, raised or multiplied by
    its like, where an error counts the more the larger the value is.
    """
    scores = {scheme.group[name] for name in scheme.graph.outputs if name in scheme.group}
    for op in scheme.graph.ops:
        if op.kind in ("SOFTMAX", "LOGISTIC", "ARG_MAX") and op.inputs[0] in scheme.group:
            scores.add(scheme.group[str(op.inputs[0])])
        if op.kind in _AMPLIFYING or (op.kind == "MUL" and op.inputs[0] == op.inputs[1]):
            scores.update(scheme.group[str(name)] for name in (*op.inputs, *op.outputs) if name in scheme.group)
    return scores | {name for name in scheme.free_groups if np.isfinite(scheme.bounds[name][1])}


def channel_importance(graph: Graph, statistics: Mapping[str, Statistics]) -> dict[str, NDArray[np.float64]]:
    """Returns the cost of a squared error in each channel of an activation at the outputs of its readers.

    An error e in channel c adds sum over o of (W[o, c] e)^2 to a layer's outputs; each output counts in units of
    its own variance, so that a channel with small values counts as much as one with large values. Through
    elementwise ops and pooling the cost of the output passes to the input. The idea of weighting by the second
    derivative of the output's error is that of Nahshan et al. 2021, arXiv:1911.07190, here with one layer's look
    ahead and no gradient.

    Returns:
        (channels,) by activation name, of mean 1.
    """
    samples = {name: values for found in statistics.values() for name, values in found.samples.items()}
    cost: dict[str, NDArray[np.float64]] = {}
    for op in reversed(graph.ops):
        for name in dict.fromkeys(op.inputs):
            if name is None or graph.tensors[name].is_constant or not graph.tensors[name].shape:
                continue
            channels = graph.tensors[name].shape[-1]
            if op.kind in LAYERS and name == data_of(op):
                found = _layer_cost(graph, op, samples)
            else:
                found = cost.get(op.outputs[0], np.ones(1))
            if found.shape in ((channels,), (1,)):
                cost[name] = cost.get(name, np.zeros(channels)) + found
    result = {}
    for name, values in samples.items():
        found = cost.get(name, np.ones(values.shape[-1]))
        fits = found.shape == (values.shape[-1],) and found.mean() > 0
        result[name] = found / found.mean() if fits else np.ones(values.shape[-1])
    return result


def _layer_cost(graph: Graph, op: Op, samples: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
    row = LAYERS[op.kind]
    weights = graph.tensors[str(op.inputs[row.weights])].real().astype(np.float64) ** 2
    made = samples.get(op.outputs[0])
    variance = np.ones(weights.shape[row.channel_axis]) if made is None else made.astype(np.float64).var(axis=0)
    variance = np.maximum(variance, variance.mean() * 1e-3 + 1e-12)
    shape = [1] * weights.ndim
    shape[row.channel_axis] = -1
    relative = weights / variance.reshape(shape)
    return np.asarray(relative.sum(axis=tuple(dim for dim in range(weights.ndim) if dim != row.input_axis)))
