"""Multiply-adds of a graph's ops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op


def op_macs(graph: Graph, op: Op) -> int:
    """Multiply-adds of one op, as the MobileNet papers count them: convolutions and matrix products alone.

    Padding counts like pixels. Additions, pooling and activations count nothing.

    Args:
        graph: The graph that holds the op's tensors.
        op: The op.
    """
    if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        return 0
    assert op.inputs[1] is not None, op.kind
    weights = graph.tensors[op.inputs[1]].shape
    output = math.prod(graph.tensors[op.outputs[0]].shape)
    if op.kind == "DEPTHWISE_CONV_2D":
        return output * weights[1] * weights[2]
    if op.kind == "TRANSPOSE_CONV":
        # Every input pixel is spread over a kernel; the data is the third input.
        assert op.inputs[2] is not None
        pixels = math.prod(graph.tensors[op.inputs[2]].shape[:-1])
        return pixels * math.prod(weights)
    return output * math.prod(weights[1:])


def graph_macs(graph: Graph) -> int:
    """Multiply-adds of a whole graph for one picture."""
    return sum(op_macs(graph, op) for op in graph.ops)


def graph_parameters(graph: Graph) -> int:
    """Numbers in the weights and biases of a graph; batch norm is folded into them."""
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
    names = {name for op in graph.ops if op.kind in kinds for name in op.inputs if name is not None}
    tensors = (graph.tensors[name] for name in names)
    return sum(math.prod(tensor.shape) for tensor in tensors if tensor.is_constant and tensor.dtype != "int64")
