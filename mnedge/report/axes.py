"""Axes of plots: the plotting area, where a value lies in it, and round numbers along it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# The plotting area in percent of the width: the numbers of the y axis stand left of it.
LEFT, RIGHT = 11.0, 96.0


@dataclass(frozen=True)
class Tick:
    """A grid line: its place (percent across, pixels down) and its text."""

    at: float
    text: str


def along(low: float, high: float, start: float = LEFT, end: float = RIGHT) -> Callable[[float], float]:
    """Position of a value on a straight axis.

    Args:
        low: The value at the start of the axis.
        high: The value at its end, another one.
        start: Start: percent across, or, for a y axis, pixels down to the foot of the plot.
        end: End, likewise.
    """

    def place(value: float) -> float:
        return float(start + (end - start) * (value - low) / (high - low))

    return place


def ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """Round numbers that span an interval, at steps of 1, 2, 2.5 or 5 times a power of ten.

    The first is at most `low` and the last at least `high`.

    Args:
        low: Lower end.
        high: Upper end, above `low`.
        count: About how many.
    """
    span = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(span))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= span * (1 - 1e-9))
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(index * step, 12) for index in range(start, stop + 1))
