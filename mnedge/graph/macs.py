"""Multiply-adds of a graph's ops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnedge.graph.ops import LAYERS, bias_of, weights_of

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op


def op_macs(graph: Graph, op: Op) -> int:
    """Multiply-adds of one op, as the MobileNet papers count them: convolutions and matrix products alone.

    Padding counts like pixels. Additions, pooling and activations count nothing.

    Args:
        graph: The graph that holds the op's tensors.
        op: The op.
    """
    row = LAYERS.get(op.kind)
    if row is None:
        return 0
    weights = graph.tensors[str(op.inputs[row.weights])].shape
    if row.spreads:
        return math.prod(graph.tensors[str(op.inputs[row.data])].shape[:-1]) * math.prod(weights)
    window = math.prod(extent for axis, extent in enumerate(weights) if axis != row.channel_axis)
    return math.prod(graph.tensors[op.outputs[0]].shape) * window


def graph_macs(graph: Graph) -> int:
    """Multiply-adds of a whole graph for one picture."""
    return sum(op_macs(graph, op) for op in graph.ops)


def graph_parameters(graph: Graph) -> int:
    """Numbers in the weights and biases of a graph; batch norm is folded into them."""
    names = {name for op in graph.ops for name in (weights_of(op), bias_of(op)) if name is not None}
    return sum(math.prod(graph.tensors[name].shape) for name in names if graph.tensors[name].is_constant)
