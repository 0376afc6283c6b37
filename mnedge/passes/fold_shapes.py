"""SHAPE, STRIDED_SLICE and PACK of a free batch dimension, computed now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.graph.fold_shapes import fold_shapes

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Replaces ops that compute shapes by the constants that they make; see `fold_shapes` for why that is exact."""
    return fold_shapes(graph)
