"""Parameters of which the first ones always run, the next with the slow tests, and the others with `-m soak`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def rest_is_slow(values: Iterable[Any], quick: int = 1, slow: int | None = None) -> list[Any]:
    """Marks the values of a parametrization that cover the same code again; a tuple is one value for each name.

    Args:
        values: The values, the most telling first.
        quick: Number of them that always run.
        slow: Number of them that are slow; those behind them are for a soak. None for all.
    """
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    ends = (quick, len(rows) if slow is None else quick + slow)
    marks = [() if at < ends[0] else pytest.mark.slow if at < ends[1] else pytest.mark.soak for at in range(len(rows))]
    return [pytest.param(*row, marks=mark) for row, mark in zip(rows, marks, strict=True)]
