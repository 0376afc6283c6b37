"""Successive halving: little training for many, more for the better half, and so on.

Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization", algorithm 1,
https://arxiv.org/abs/1502.07943. Training goes on from where it was, so an arm never repeats an epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Arm = TypeVar("Arm")


@dataclass(frozen=True)
class Trial(Generic[Arm]):
    """An arm after a round.

    Attributes:
        arm: The arm.
        round: Number of the round, from 0.
        epochs: Epochs so far, all rounds together.
        score: Score after the round; larger is better.
    """

    arm: Arm
    round: int
    epochs: int
    score: float


def rounds(arms: int, epochs: int) -> list[tuple[int, int]]:
    """Returns the number of arms of each round, and the epochs that each arm has after it.

    The number halves (rounded up) and the epochs double from round to round; the last round has at most two arms, and
    the epochs of the first are such that the last ends at `epochs`.

    Args:
        arms: Number of arms in the first round.
        epochs: Epochs of the last round's arms, all rounds together.
    """
    if arms < 1:
        return []
    count = max(1, math.ceil(math.log2(arms)))
    sizes = [arms]
    while len(sizes) < count:
        sizes.append(math.ceil(sizes[-1] / 2))
    return [(size, max(1, math.ceil(epochs / 2 ** (count - 1 - place)))) for place, size in enumerate(sizes)]


def halve(
    arms: Sequence[Arm],
    epochs: int,
    train: Callable[[Arm, int], float],
    on_trial: Callable[[Trial[Arm]], None],
) -> Trial[Arm] | None:
    """Trains arms, each round the better half of the last one for twice as long.

    Args:
        arms: The best guess first, which wins ties.
        epochs: Epochs of the last round's arms, all rounds together.
        train: Trains an arm up to so many epochs in all and gives its score; goes on from its last round.
        on_trial: Called after each training; an error that it raises ends the halving.

    Returns:
        The best of the last round; None without arms.
    """
    left = list(arms)
    best: Trial[Arm] | None = None
    for number, (size, so_far) in enumerate(rounds(len(left), epochs)):
        trials = []
        for arm in left[:size]:
            trial = Trial(arm, number, so_far, train(arm, so_far))
            on_trial(trial)
            trials.append(trial)
        # A stable sort: the better guess stays in front.
        trials.sort(key=lambda trial: -trial.score)
        left = [trial.arm for trial in trials[: math.ceil(size / 2)]]
        best = trials[0]
    return best
