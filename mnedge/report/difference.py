"""Difference of two measurements, and whether their intervals show one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnedge.results.comparison import Difference

if TYPE_CHECKING:
    from mnedge.results.accuracy import AccuracyRow
    from mnedge.results.latency import LatencyRow


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


def of_accuracy(first: AccuracyRow | None, second: AccuracyRow | None, metric: str) -> Difference | None:
    """Second minus first; None where one of them lacks the metric."""
    if first is None or second is None:
        return None
    before, after = first.metric(metric), second.metric(metric)
    if before is None or after is None:
        return None
    one, other = first.interval(metric), second.interval(metric)
    if one is None or other is None:
        return Difference(after - before, None, None, None)
    return of_shares((before, one), (after, other))


def of_latency(first: LatencyRow | None, second: LatencyRow | None) -> Difference | None:
    """Returns the speed of the second measurement relative to the first.

    The difference counts as shown where nine of ten runs of the faster one beat the median of the slower one.
    """
    if first is None or second is None or not first.p50_ms or not second.p50_ms:
        return None
    slow, fast = (first, second) if first.p50_ms >= second.p50_ms else (second, first)
    return Difference(first.p50_ms / second.p50_ms, None, None, fast.p90_ms < slow.p50_ms)
