"""Precision of a graph's ops: which of them compute in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op


def float_ops(graph: Graph) -> list[Op]:
    """The ops that read or make a float tensor, without the QUANTIZE and DEQUANTIZE at the ends.

    A QUANTIZE of the graph's input and a DEQUANTIZE to its output are the I/O type that the caller asked for;
    anywhere else they stand beside a float op.
    """
    found = []
    for op in graph.ops:
        names = [name for name in (*op.inputs, *op.outputs) if name is not None]
        if not any(graph.tensors[name].dtype.startswith("float") for name in names):
            continue
        at_input = op.kind == "QUANTIZE" and op.inputs[0] in graph.inputs
        at_output = op.kind == "DEQUANTIZE" and op.outputs[0] in graph.outputs
        if not (at_input or at_output):
            found.append(op)
    return found
