"""The Pareto front: what no other one beats in every respect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Returns the points that no other point dominates.

    A point dominates another where it is at most as large in every figure and smaller in one. Equal points stay both.

    Args:
        points: One sequence of figures a point, all of which are better when smaller.
    """
    return [not any(_dominates(other, point) for other in points) for point in points]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))
