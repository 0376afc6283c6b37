"""SQUARE, SUM, RSQRT, MINIMUM and MUL to L2_NORMALIZATION: the op that runtimes know and that has an int8 form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.dead import without_dead
from mnedge.graph.graph import Op
from mnedge.passes._pass import read_once

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

# x / max(|x|, e) is what Keras computes: a bound of 1 / e this high is reached by rows of zeros alone.
_HIGH = 1e4


def apply(graph: Graph) -> Graph:
    """Rewrites x * min(1 / sqrt(sum x^2), bound), as Keras' UnitNormalization converts, over the last axis.

    Exact for every row that is longer than 1e-4.
    """
    producers, once = graph.producers(), read_once(graph)

    def made_by(name: str | None, kind: str) -> Op | None:
        op = producers.get(str(name))
        return op if op is not None and op.kind == kind and name in once else None

    def normalized(op: Op) -> str | None:
        """Returns the tensor that a MUL normalizes; None for another MUL."""
        if op.kind != "MUL" or op.options.get("activation", "NONE") != "NONE":
            return None
        for source, factor in (op.inputs, op.inputs[::-1]):
            bound = made_by(factor, "MINIMUM")
            root = next((found for name in bound.inputs if (found := made_by(name, "RSQRT"))), None) if bound else None
            total = made_by(root.inputs[0], "SUM") if root else None
            square = made_by(total.inputs[0], "SQUARE") if total else None
            if bound and total and square and square.inputs[0] == source:
                rank = len(graph.tensors[str(source)].shape)
                axes = np.ravel(graph.tensors[str(total.inputs[1])].real()).astype(int) % rank
                limits = [graph.tensors[str(name)].data for name in bound.inputs]
                is_high = any(limit is not None and np.all(limit >= _HIGH) for limit in limits)
                if axes.tolist() == [rank - 1] and is_high:
                    return source
        return None

    ops = []
    for op in graph.ops:
        source = normalized(op)
        ops.append(op if source is None else Op("L2_NORMALIZATION", (source,), op.outputs, {"activation": "NONE"}))
    return without_dead(graph.replaced(ops=ops)) if ops != list(graph.ops) else graph
