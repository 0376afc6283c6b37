"""CONCATENATION of many inputs in steps: XNNPACK joins up to five at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op, Tensor

_MOST = 5


def apply(graph: Graph) -> Graph:
    """Joins the first five inputs of a longer CONCATENATION, then that with the next four, and so on.

    Exact: bytes are moved. The heads of a detector on six feature maps make
    such a CONCATENATION, which XNNPACK would leave to a kernel of its own and cut its graph there.
    """
    ops: list[Op] = []
    tensors: list[Tensor] = []
    for op in graph.ops:
        if op.kind != "CONCATENATION" or len(op.inputs) <= _MOST:
            ops.append(op)
            continue
        result = graph.tensors[op.outputs[0]]
        axis = int(op.options.get("axis", 0)) % len(result.shape)
        waiting, extents = list(op.inputs), [graph.tensors[str(name)].shape[axis] for name in op.inputs]
        while len(waiting) > _MOST:
            shape = (*result.shape[:axis], sum(extents[:_MOST]), *result.shape[axis + 1 :])
            part = result.reshaped(shape, graph.fresh_name(f"{result.name}/first_{shape[axis]}"))
            tensors.append(part)
            ops.append(replace(op, inputs=tuple(waiting[:_MOST]), outputs=(part.name,)))
            waiting, extents = [part.name, *waiting[_MOST:]], [shape[axis], *extents[_MOST:]]
        ops.append(replace(op, inputs=tuple(waiting)))
    return graph.replaced(tensors=tensors, ops=ops) if tensors else graph
