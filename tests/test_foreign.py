import math

import pytest

from mnedge.errors import InputError
from mnedge.foreign import checked_number
from mnedge.training.settings import Schedule
from mnedge.workflows.bench import bench
from mnedge.workflows.search.limits import Limits
from mnedge.workflows.search.timing import stopwatch

_NONE = (-1.0, 0.0, math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("value", _NONE)
def test_what_is_no_amount_is_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"seconds is .*; it is a number above 0 and at most 60"):
        checked_number("seconds", value, most=60)


def test_an_amount_comes_back() -> None:
    assert checked_number("seconds", 0.5) == 0.5
    with pytest.raises(InputError, match="at most 60"):
        checked_number("seconds", 60.5, most=60)


@pytest.mark.parametrize("value", _NONE)
def test_times_and_clocks_of_commands(value: float) -> None:
    with pytest.raises(InputError, match="--seconds is"):
        bench([], seconds=value)
    with pytest.raises(InputError, match="--sustained, in seconds, is"):
        bench([], sustained_s=value)
    with pytest.raises(InputError, match="--max-ms is"):
        Limits(max_ms=value)
    for clock, cycles, said in ((value, 1.0, "--clock-mhz is"), (480.0, value, "--cycles-per-instruction is")):
        with pytest.raises(InputError, match=said):
            stopwatch("cortex-m7", device=None, threads=1, clock_mhz=clock, cycles_per_instruction=cycles)
    with pytest.raises(InputError, match="learning_rate is"):
        Schedule(learning_rate=value)


def test_seeds_are_what_the_generators_take() -> None:
    for seed in (-1, 2**32):
        with pytest.raises(InputError, match=r"seed is .*; it is a whole number from 0"):
            Schedule(seed=seed)
