"""What lowerings ask of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge.codegen.source import Source
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def test_an_axis_that_a_value_does_not_have_is_refused(small_int8: Graph) -> None:
    source, op = Source(small_int8), small_int8.ops[0]
    assert [source.axis(op, axis, (2, 3)) for axis in (-2, -1, 0, 1)] == [0, 1, 0, 1]
    for axis, shape in ((3, ()), (2, (2, 3)), (-3, (2, 3))):
        with pytest.raises(UnsupportedError, match=f"works along axis {axis} of a value of the shape"):
            source.axis(op, axis, shape)
