"""The Pareto front: held against its definition, point by point."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mnedge.report.pareto import front

_POINTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=12)


def test_equal_points_stay_both_and_beaten_ones_go() -> None:
    assert front([(1, 2), (1, 2), (2, 1), (2, 2), (3, 0)]) == [True, True, True, False, True]
    assert front([]) == []


@given(_POINTS)
def test_every_point_that_goes_is_beaten_by_one_that_stays(points: list[tuple[int, int, int]]) -> None:
    stays = front(points)
    kept = [point for point, is_front in zip(points, stays, strict=True) if is_front]
    for point, is_front in zip(points, stays, strict=True):
        beaten = any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in kept)
        assert beaten != is_front
