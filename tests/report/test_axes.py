import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnedge.report.axes import LEFT, RIGHT, along, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 10))
def test_ticks_are_round_and_span_the_interval(low: float, span: float, count: int) -> None:
    high = low + span
    values = ticks(low, high, count)
    steps = [after - before for before, after in itertools.pairwise(values)]
    tolerance = 1e-6 * max(abs(low), abs(high), 1.0)
    assert values[0] <= low + tolerance
    assert values[-1] >= high - tolerance
    assert len(values) <= count + 2
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3, abs=1e-9 * max(abs(low), 1.0))


def test_a_value_lies_on_the_line_between_the_ends() -> None:
    across, up = along(0.0, 4.0), along(50.0, 100.0, 260.0, 26.0)
    assert (across(0.0), across(4.0)) == (LEFT, RIGHT)
    assert across(1.0) == pytest.approx(0.75 * LEFT + 0.25 * RIGHT)
    assert (up(50.0), up(100.0)) == (260.0, 26.0)
    assert up(75.0) == pytest.approx(143.0)
