"""embed.py of a Raspberry Pi: vectors of length 1, whatever length the model gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_vector_keeps_its_direction_and_gets_length_1(program_of: Callable[[str], Any]) -> None:
    program = program_of("embed")
    np.testing.assert_allclose(program.direction(np.array([[3.0, 4.0]], np.float32)), [0.6, 0.8])
    assert program.direction(np.zeros((1, 2), np.float32)).tolist() == [0.0, 0.0]
