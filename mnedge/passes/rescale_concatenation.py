"""CONCATENATION of several scales, into one scale first: int8 kernels and XNNPACK join nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.graph.graph import Op
from mnedge.passes._pass import same_quantization

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Puts a QUANTIZE before each input of a CONCATENATION that has another scale than its output.

    Exact in real arithmetic, and both round once: TFLite's uint8 kernel brings every input to the output's scale
    itself, its int8 kernel and XNNPACK refuse to.
    """
    ops: list[Op] = []
    tensors = []
    for op in graph.ops:
        if op.kind != "CONCATENATION":
            ops.append(op)
            continue
        result = graph.tensors[op.outputs[0]]
        inputs: list[str | None] = []
        for place, name in enumerate(op.inputs):
            source = graph.tensors[str(name)]
            if source.is_constant or same_quantization(source.quantization, result.quantization):
                inputs.append(name)
            else:
                fresh = graph.fresh_name(f"{result.name}/input_{place}")
                tensors.append(replace(source, name=fresh, quantization=result.quantization))
                ops.append(Op("QUANTIZE", (name,), (fresh,)))
                inputs.append(fresh)
        ops.append(replace(op, inputs=tuple(inputs)))
    return graph.replaced(tensors=tensors, ops=ops) if tensors else graph
