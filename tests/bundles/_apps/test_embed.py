"""The sketch of an embedding, run."""

import math
from typing import Any

import pytest

from mnedge.bundles._apps.embed import APP


@pytest.mark.parametrize("second", [(3, 4, 0, 0), (-4, 3, 0, 0), (0, 4, 0, 3)])
def test_the_second_picture_is_held_against_the_first(run_sketch: Any, second: tuple[int, ...]) -> None:
    # Steps of the vectors; 2 is the zero point.
    first = (3, 4, 0, 0)
    values = [", ".join(str(step + 2) for step in vector) for vector in (first, second)]
    network = (
        f"const int8_t made[2][4] = {{{{{values[0]}}}, {{{values[1]}}}}};"
        "for (int at = 0; at < 4; at++) output[at] = made[turn][at]; return 0;"
    )
    cosine = sum(one * other for one, other in zip(first, second, strict=True)) / 25
    assert math.isclose(math.hypot(*second), 5)
    assert run_sketch(APP.sketch, {}, network) == ["alike 1.000 0 us", f"alike {cosine:.3f} 0 us"]


def test_the_first_picture_that_ran_is_the_first(run_sketch: Any) -> None:
    network = "for (int at = 0; at < 4; at++) output[at] = 2 + turn; return turn == 0;"
    assert run_sketch(APP.sketch, {}, network) == ["arena is not aligned 0.000 0 us", "alike 1.000 0 us"]
