"""A 1x1 CONV_2D of one pixel to FULLY_CONNECTED, for which LiteRT has kernels of 4-bit weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.graph.graph import Op

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Rewrites each CONV_2D on maps of one pixel, (n, 1, 1, channels), as FULLY_CONNECTED that keeps the dimensions.

    Exact: it is the same matrix product.
    """
    consumers = graph.consumers()
    tensors, ops = [], []
    for op in graph.ops:
        weights = graph.tensors[str(op.inputs[1])] if op.kind == "CONV_2D" else None
        if (
            weights is None
            or weights.data is None
            or weights.shape[1:3] != (1, 1)
            or graph.tensors[str(op.inputs[0])].shape[1:3] != (1, 1)
            or weights.shape[3] != graph.tensors[str(op.inputs[0])].shape[3]
            or len(consumers[weights.name]) > 1
        ):
            ops.append(op)
            continue
        shape = (weights.shape[0], weights.shape[3])
        tensors.append(replace(weights, shape=shape, data=weights.data.reshape(shape)))
        options = {"activation": op.options.get("activation", "NONE"), "keep_num_dims": True, "weights_format": 0}
        ops.append(Op("FULLY_CONNECTED", op.inputs, op.outputs, options))
    return graph.replaced(tensors=tensors, ops=ops)
