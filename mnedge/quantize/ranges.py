"""The range of every activation: min-max, percentile or least squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.quantize.calibrate import Statistics
    from mnedge.quantize.scheme import Interval, Scheme

RangeMethod = Literal["min-max", "percentile", "mse", "output"]
RANGE_METHODS: tuple[RangeMethod, ...] = ("min-max", "percentile", "mse", "output")

_BINS = 2048
_SHRINK = np.linspace(0.15, 1.0, 35)


def min_max(statistics: Statistics) -> Interval:
    """The smallest and the largest value seen. Krishnamoorthi 2018, section 2.1, arXiv:1806.08342."""
    return min(statistics.low, 0.0), max(statistics.high, 0.0)


def percentile(statistics: Statistics, outside_fraction: float = 1e-4) -> Interval:
    """The interval that leaves `outside_fraction` of the values out at each end.

    Wu et al. 2020, section 4.1, arXiv:2004.09602.
    """
    low, high = np.quantile(statistics.samples, [outside_fraction, 1 - outside_fraction])
    return min(float(low), 0.0), max(float(high), 0.0)


def least_squares(statistics: Statistics) -> Interval:
    """The interval whose int8 grid has the least mean squared error on the values seen.

    Banner et al. 2019, section 3, arXiv:1810.05723, searched on a grid of both ends instead of assuming a
    distribution.
    """
    low, high = min_max(statistics)
    if high - low < 1e-12:
        return low, high
    counts, edges = np.histogram(statistics.samples, _BINS, (low, high))
    centres = ((edges[1:] + edges[:-1]) / 2).astype(np.float64)
    used = counts > 0
    lows = low * _SHRINK if low < 0 else np.zeros(1)
    highs = high * _SHRINK if high > 0 else np.zeros(1)
    best, found = np.inf, (low, high)
    for candidate_low in lows:
        for candidate_high in highs:
            error = squared_error(centres[used], counts[used], candidate_low, candidate_high)
            if error < best:
                best, found = error, (float(candidate_low), float(candidate_high))
    return found


def squared_error(values: NDArray[np.float64], counts: NDArray[np.int64], low: float, high: float) -> float:
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
    methods = {"min-max": min_max, "percentile": percentile, "mse": least_squares, "output": least_squares}
    if method not in methods:
        raise InputError.unknown("range method", method, RANGE_METHODS)
    tensors = scheme.graph.tensors
    return {
        name: min_max(statistics[name]) if tensors[name].is_constant else methods[method](statistics[name])
        for name in scheme.free_groups
    }
