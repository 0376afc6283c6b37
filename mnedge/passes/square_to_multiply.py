"""SQUARE to MUL of a tensor with itself: LiteRT has int8 kernels for MUL alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Rewrites SQUARE(x) as MUL(x, x). Exact."""
    if all(op.kind != "SQUARE" for op in graph.ops):
        return graph
    ops = [
        replace(op, kind="MUL", inputs=op.inputs * 2, options={"activation": "NONE"}, version=1)
        if op.kind == "SQUARE"
        else op
        for op in graph.ops
    ]
    return graph.replaced(ops=ops)
