"""Global AVERAGE_POOL_2D to MEAN: XNNPACK takes no quantized AVERAGE_POOL_2D."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Op, constant

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Rewrites an AVERAGE_POOL_2D whose one window is the whole height and width as MEAN.

    Exact: both divide the same sum by the same count; the rounding of a quantized MEAN may differ by one step. XNNPACK
    runs a quantized MEAN, and a quantized AVERAGE_POOL_2D would cut its graph.
    """
    if not any(_is_global(graph, op) for op in graph.ops):
        return graph
    axes = constant(graph.fresh_name("height_and_width"), np.array([1, 2], np.int32))
    ops = [
        Op("MEAN", (op.inputs[0], axes.name), op.outputs, {"keep_dims": True}) if _is_global(graph, op) else op
        for op in graph.ops
    ]
    return graph.replaced(tensors=(axes,), ops=ops)


def _is_global(graph: Graph, op: Op) -> bool:
    if op.kind != "AVERAGE_POOL_2D" or op.options.get("activation", "NONE") != "NONE":
        return False
    source, result = graph.tensors[str(op.inputs[0])], graph.tensors[op.outputs[0]].shape
    window = (op.options["filter_height"], op.options["filter_width"])
    whole = window == source.shape[1:3] != (1, 1) and result[1:3] == (1, 1)
    return op.options["padding"] == "VALID" and whole and not source.is_open
