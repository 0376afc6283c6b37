"""embed.py of a Raspberry Pi: vectors of length 1, whatever length the model gives them."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from mnedge.bundles import _classify

if TYPE_CHECKING:
    import pytest


def test_a_vector_keeps_its_direction_and_gets_length_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "classify", _classify)
    program = import_module("mnedge.bundles._embed")
    np.testing.assert_allclose(program.direction(np.array([[3.0, 4.0]], np.float32)), [0.6, 0.8])
    assert program.direction(np.zeros((1, 2), np.float32)).tolist() == [0.0, 0.0]
