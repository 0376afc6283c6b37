"""What two measurements say about each other, and whether their intervals allow saying it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Difference:
    """One measurement against another.

    Attributes:
        value: Second minus first for shares (-1..1); first over second for times and sizes (above 1 is better).
        low: Lower end of the 95 % interval; None where there is none.
        high: Upper end.
        shown: Whether the measurements show a difference; None where that cannot be told.
    """

    value: float
    low: float | None
    high: float | None
    shown: bool | None


def of_shares(first: tuple[float, tuple[float, float]], second: tuple[float, tuple[float, float]]) -> Difference:
    """Difference of two shares from their Wilson intervals.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17, method 10. Two models on the same pictures agree more than independent ones would, so that the
    interval is wider than it need be: a difference that it shows is there.

    Args:
        first: Share in 0..1 and its 95 % interval.
        second: The other one.
    """
    (share_1, (low_1, high_1)), (share_2, (low_2, high_2)) = first, second
    value = share_2 - share_1
    low = value - math.hypot(share_2 - low_2, high_1 - share_1)
    high = value + math.hypot(high_2 - share_2, share_1 - low_1)
    return Difference(value, low, high, not low <= 0.0 <= high)


def of_accuracy(first: Mapping[str, Any], second: Mapping[str, Any], metric: str) -> Difference | None:
    """Second minus first for rows of report.json's `accuracy`; None where one of them lacks the metric."""
    if first.get(metric) is None or second.get(metric) is None:
        return None
    intervals = first.get(f"{metric}_interval"), second.get(f"{metric}_interval")
    if not all(intervals):
        return Difference(second[metric] - first[metric], None, None, None)
    bounds = [(float(low), float(high)) for low, high in intervals if intervals]  # type: ignore[misc]
    return of_shares((first[metric], bounds[0]), (second[metric], bounds[1]))


def of_latency(first: Mapping[str, Any], second: Mapping[str, Any]) -> Difference | None:
    """How many times faster the second row of report.json's `latency` is than the first.

    The difference counts as shown where nine of ten runs of the faster one beat the median of the slower one.
    """
    before, after = first.get("p50_ms"), second.get("p50_ms")
    if not before or not after:
        return None
    slow, fast = (first, second) if before >= after else (second, first)
    fast_p90 = fast.get("p90_ms")
    shown = None if fast_p90 is None else bool(fast_p90 < slow["p50_ms"])
    return Difference(before / after, None, None, shown)
