"""Successive halving and the Pareto front, on arms whose truth is known."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnedge.report.pareto import front
from mnedge.workflows.search.halving import Trial, halve, rounds


def test_half_the_arms_go_on_for_twice_as_long() -> None:
    assert rounds(8, 12) == [(8, 3), (4, 6), (2, 12)]
    assert rounds(5, 12) == [(5, 3), (3, 6), (2, 12)]
    assert rounds(2, 12) == [(2, 12)]
    assert rounds(1, 12) == [(1, 12)]
    assert rounds(0, 12) == []


def test_the_best_wins_although_it_starts_slowly() -> None:
    # After one epoch "slow" is third of four; from two on it is the best.
    curves = {
        "slow": (0.4, 0.8, 0.9, 0.9),
        "flat": (0.5, 0.5, 0.5, 0.5),
        "good": (0.6, 0.7, 0.8, 0.8),
        "bad": (0.1,) * 4,
    }
    spent: list[tuple[str, int]] = []

    def train(arm: str, epochs: int) -> float:
        spent.append((arm, epochs))
        return curves[arm][epochs - 1]

    told: list[Trial[str]] = []
    best = halve(["bad", "flat", "slow", "good"], 4, train, told.append)
    assert best is not None
    assert (best.arm, best.epochs, best.score) == ("slow", 4, 0.9)
    assert spent == [(arm, 2) for arm in ("bad", "flat", "slow", "good")] + [("slow", 4), ("good", 4)]
    assert [trial.arm for trial in told] == [arm for arm, _ in spent]


def test_what_was_told_stays_when_it_is_cut_off() -> None:
    told: list[Trial[str]] = []

    def train(arm: str, epochs: int) -> float:
        if len(told) == 3:
            raise KeyboardInterrupt
        return 0.5 + epochs / 100 + (arm == "b") / 10

    with pytest.raises(KeyboardInterrupt):
        halve(["a", "b", "c", "d"], 8, train, told.append)
    assert [trial.arm for trial in told] == ["a", "b", "c"]


def test_ties_go_to_the_better_guess() -> None:
    best = halve(["first", "second", "third"], 4, lambda _arm, _epochs: 0.7, lambda _trial: None)
    assert best is not None
    assert best.arm == "first"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_the_definition_says(points: list[tuple[int, int, int]]) -> None:
    found = front(points)
    for place, point in enumerate(points):
        beaten = any(
            all(theirs <= mine for theirs, mine in zip(other, point, strict=True)) and other != point
            for other in points
        )
        assert found[place] is not beaten
    # Every point is beaten or matched by one in front.
    leaders = [point for point, is_in in zip(points, found, strict=True) if is_in]
    for point, leader_found in itertools.product(points, [leaders]):
        assert any(all(a <= b for a, b in zip(leader, point, strict=True)) for leader in leader_found)
