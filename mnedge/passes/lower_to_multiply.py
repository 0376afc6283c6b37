"""SQUARE and NEG to MUL, which has int8 kernels in LiteRT where they have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Op, constant

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Rewrites float SQUARE(x) as MUL(x, x) and NEG(x) as MUL(x, -1). Exact."""
    minus = constant(graph.fresh_name("minus_one"), np.array(-1, np.float32))
    rewritten: dict[str, Op] = {}
    for op in graph.ops:
        if op.kind in ("SQUARE", "NEG") and graph.tensors[op.outputs[0]].dtype == "float32":
            other = op.inputs[0] if op.kind == "SQUARE" else minus.name
            rewritten[op.outputs[0]] = Op("MUL", (op.inputs[0], other), op.outputs, {"activation": "NONE"})
    if not rewritten:
        return graph
    return graph.replaced(tensors=[minus], ops=[rewritten.get(op.outputs[0], op) for op in graph.ops])
