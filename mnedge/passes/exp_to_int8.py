"""EXP between DEQUANTIZE and QUANTIZE to EXP on int8, which generated C tabulates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.graph.graph import Op

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Takes the float stretch out of an int8 detector that decodes its boxes.

    Both round e^x to the same scale once; where it lies on a tie, one step may differ.
    """
    producers, consumers = graph.producers(), graph.consumers()
    gone: set[int] = set()
    made: dict[int, Op] = {}
    for op in graph.ops:
        source = producers.get(str(op.inputs[0])) if op.kind == "EXP" else None
        readers = consumers[op.outputs[0]]
        if source is None or source.kind != "DEQUANTIZE" or op.outputs[0] in graph.outputs or not readers:
            continue
        steps = str(source.inputs[0])
        ends = [graph.tensors[name].dtype for name in (steps, *(reader.outputs[0] for reader in readers))]
        if any(reader.kind != "QUANTIZE" for reader in readers) or set(ends) != {"int8"}:
            continue
        gone.add(id(op))
        if consumers[source.outputs[0]] == [op] and source.outputs[0] not in graph.outputs:
            gone.add(id(source))
        made |= {id(reader): Op("EXP", (steps,), reader.outputs) for reader in readers}
    if not made:
        return graph
    return graph.replaced(ops=[made.get(id(op), op) for op in graph.ops if id(op) not in gone])
