"""Choices: what the command line offers is what the files, and Python, take."""

from __future__ import annotations

from typing import get_args

from mnedge import choices, tasks
from mnedge.bundles import _android_runtimes
from mnedge.recipe import Recipe
from mnedge.training.settings import Augmentation, Schedule


def test_the_default_task_is_a_task_and_every_default_is_a_choice() -> None:
    assert choices.DEFAULT_TASK in tasks.names()
    recipe, schedule = Recipe(), Schedule()
    assert recipe.task == choices.DEFAULT_TASK
    for value, kind in (
        (recipe.method, choices.Method),
        (recipe.effort, choices.Effort),
        (recipe.io, choices.IoDtype),
        (recipe.post_processing, choices.PostProcessing),
        (schedule.class_weights, choices.ClassWeights),
        (schedule.precision, choices.TrainingPrecision),
    ):
        assert value in get_args(kind)


def test_every_choice_is_served() -> None:
    for runtime in get_args(choices.AndroidRuntime):
        assert _android_runtimes.flavour(runtime).dependency
    assert len({Augmentation.of(strength) for strength in get_args(choices.Strength)}) == len(
        get_args(choices.Strength)
    )
