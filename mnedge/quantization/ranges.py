"""The range of every activation: min-max, percentile or least squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.quantization.calibrate import Statistics
    from mnedge.quantization.intervals import Interval
    from mnedge.quantization.scheme import Scheme

RangeMethod = Literal["min-max", "percentile", "mse", "output"]
RANGE_METHODS: tuple[RangeMethod, ...] = ("min-max", "percentile", "mse", "output")

_BINS = 2048
_AMPLIFYING = ("BATCH_MATMUL", "EXP", "SQUARED_DIFFERENCE")
# An int16 group reaches so many times as far as what was seen: pictures to come may go further, and a bit is to spare.
_ROOM_16 = 2.0
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
    # Values outside are lost whatever the steps are, except half a step by which rounding 0 shifts them: most
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


def choose_ranges(
    scheme: Scheme,
    statistics: Mapping[str, Statistics],
    method: str = "mse",
    sensitivity: Mapping[str, NDArray[np.float64]] | None = None,
) -> dict[str, Interval]:
    """Range of every free group by one method; groups of constants always get min and max, int16 ones twice these.

    Args:
        scheme: Quantization scheme of the graph.
        statistics: Values seen, by group.
        method: "min-max", "percentile", "mse", or "output": the squared error at the network's outputs.
        sensitivity: For "output", the cost of noise in each channel, nats, by activation (`channels.sensitivities`).

    Raises:
        InputError: Unknown method.
    """
    if method not in RANGE_METHODS:
        raise InputError.unknown("range method", method, RANGE_METHODS)
    costs = sensitivity if method == "output" and sensitivity is not None else {}
    kept_whole = _kept_whole(scheme)
    ranges = {}
    for name in scheme.free_groups:
        found = statistics[name]
        if name in scheme.wide:
            low, high = min_max(found)
            room = 1.0 if scheme.graph.tensors[name].is_constant else _ROOM_16
            ranges[name] = (low * room, high * room)
            continue
        whole = method == "min-max" or (method == "output" and name in kept_whole)
        if whole or scheme.graph.tensors[name].is_constant:
            ranges[name] = min_max(found)
        elif method == "percentile":
            ranges[name] = percentile(found)
        else:
            ranges[name] = least_squares(found, _importance(found, costs))
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


def _importance(
    statistics: Statistics, costs: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]] | None:
    """Weight of a squared error of each sample, (channels,) by member; None where the members cannot be compared.

    Members of a group are compared in nats at the outputs, whatever the number of their pixels. That of one layer's
    readers does not do: an outlier of a channel that the next layer hardly hears may decide further on. The idea of
    weighting by the second derivative of the output's error is that of Nahshan et al. 2021, arXiv:1911.07190.
    """
    found = {}
    for name, rows in statistics.samples.items():
        cost = costs.get(name)
        if cost is None or cost.shape != (rows.shape[-1],) or not cost.sum() > 0:
            return None
        found[name] = cost / len(rows)
    largest = max((float(cost.max()) for cost in found.values()), default=1.0)
    return {name: cost / largest for name, cost in found.items()}
