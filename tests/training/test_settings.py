"""Settings of a training: what is out of range is told, and a pause changes nothing that weights depend on."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mnedge.errors import InputError
from mnedge.training.settings import Augmentation, Schedule


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": -1}, "epochs is -1; it is a whole number from 0 to 1,000,000"),
        ({"batch_size": 0}, "batch_size is 0; it is a whole number from 1"),
        ({"head_epochs": 0, "epochs": 0}, "nothing would be trained"),
        ({"epochs": 3, "until_epoch": 4}, "until_epoch is 4; it is 0 to epochs, which is 3"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it is above 0 and below 1"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"weight_decay": 1.0}, "weight_decay is 1.0; it is at least 0 and below 1"),
        ({"precision": "float16"}, "precision"),
        ({"class_weights": "balance"}, "did you mean 'balanced'"),
    ],
)
def test_what_is_out_of_range_is_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Schedule(**settings)


def test_a_pause_ends_early_and_is_no_part_of_the_horizon() -> None:
    whole, paused = Schedule(epochs=8), Schedule(epochs=8, until_epoch=3)
    assert (whole.until, paused.until) == (8, 3)
    assert whole.horizon() == paused.horizon()
    assert whole.as_json() != paused.as_json()


def test_a_run_without_an_epoch_is_refused() -> None:
    Schedule(until_epoch=0).check_trains(from_scratch=False)
    with pytest.raises(InputError, match="until_epoch is 0 and random weights have no frozen phase"):
        Schedule(until_epoch=0).check_trains(from_scratch=True)
    with pytest.raises(InputError, match="epochs is 0 and random weights"):
        Schedule(epochs=0).check_trains(from_scratch=True)


def test_strengths_of_augmentation_rise_from_none_to_default() -> None:
    none, light, default = (Augmentation.of(name) for name in ("none", "light", "default"))
    assert none.zoom == (1.0, 1.0)
    assert not none.flip
    assert none.degrees < light.degrees < default.degrees
    assert none.contrast < light.contrast < default.contrast
    assert not Augmentation.of("default", flip=False).flip
