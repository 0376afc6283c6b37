"""DIV by a constant to MUL, which has an int8 form and can be folded into weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import constant

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op


def apply(graph: Graph) -> Graph:
    """Rewrites x / c as x * (1 / c) where every value of c has a finite inverse.

    Exact in real arithmetic; in float32 the two differ by a rounding.
    """
    rewritten: dict[str, Op] = {}
    tensors = []
    for op in graph.ops:
        divisor = graph.tensors[str(op.inputs[1])] if op.kind == "DIV" else None
        if divisor is None or divisor.data is None or divisor.dtype != "float32":
            continue
        with np.errstate(divide="ignore", over="ignore"):
            inverse = (1 / divisor.data.astype(np.float64)).astype(np.float32)
        if np.all(np.isfinite(inverse)):
            tensors.append(constant(graph.fresh_name(f"{op.outputs[0]}/inverse"), inverse))
            inputs = (op.inputs[0], tensors[-1].name)
            rewritten[op.outputs[0]] = replace(op, kind="MUL", inputs=inputs, version=1)
    if not rewritten:
        return graph
    return graph.replaced(tensors=tensors, ops=[rewritten.get(op.outputs[0], op) for op in graph.ops])
