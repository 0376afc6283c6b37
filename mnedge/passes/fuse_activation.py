"""RELU and RELU6 fused into the op before them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.passes._pass import read_once

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op

_FUSING = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D")


def apply(graph: Graph) -> Graph:
    """Drops a RELU or RELU6 that alone reads the result of a convolution, ADD, SUB, MUL or pooling.

    Exact: these ops clamp their result themselves when their `activation` option says so. In a quantized graph
    the result takes the activation's scale, one rounding less; pooling, whose scales must agree, is left alone there.
    """
    producers, once = graph.producers(), read_once(graph)
    fused: dict[str, Op] = {}
    for op in graph.ops:
        if op.kind not in ("RELU", "RELU6") or op.inputs[0] not in once:
            continue
        source = producers.get(str(op.inputs[0]))
        if source is None or source.kind not in _FUSING or source.options.get("activation", "NONE") != "NONE":
            continue
        if "POOL" in source.kind and graph.tensors[op.outputs[0]].quantization is not None:
            continue
        fused[source.outputs[0]] = op
    dropped = set(map(id, fused.values()))
    ops = []
    for op in graph.ops:
        if id(op) in dropped:
            continue
        activation = fused.get(op.outputs[0])
        if activation is not None:
            op = replace(op, outputs=activation.outputs).with_options(activation=activation.kind)  # noqa: PLW2901
        ops.append(op)
    return graph.replaced(ops=ops)
