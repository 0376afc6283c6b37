"""Parameters of which the first ones always run, and the others with `-m slow`: they cover the same code again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def rest_is_slow(values: Iterable[Any], quick: int = 1) -> list[Any]:
    """Marks all but the first `quick` values of a parametrization as slow; a tuple is one value for each name."""
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*row, marks=() if at < quick else pytest.mark.slow) for at, row in enumerate(rows)]
