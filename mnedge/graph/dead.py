"""Dead ops: those whose results nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op


def without_dead(graph: Graph) -> Graph:
    """Removes the ops whose results neither another op nor an output of the graph reads."""
    wanted = set(graph.outputs)
    kept: list[Op] = []
    for op in reversed(graph.ops):
        if wanted & set(op.outputs):
            kept.append(op)
            wanted |= {name for name in op.inputs if name is not None}
    return graph.replaced(ops=kept[::-1])
