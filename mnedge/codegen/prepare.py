"""What a Graph goes through before it is lowered: shapes computed now, float ends cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.graph.fold_shapes import fold_shapes

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def prepare(graph: Graph) -> Graph:
    """The graph without ops that compute shapes, from the first quantized tensors up to the last ones.

    A float input that only a QUANTIZE reads gives way to what that makes, and a float output that a DEQUANTIZE makes to
    what that reads: the caller converts with NAME_quantize and NAME_dequantize, or has steps already.
    """
    return _without_float_ends(fold_shapes(graph))


def _without_float_ends(graph: Graph) -> Graph:
    readers, producers = graph.consumers(), graph.producers()
    inputs = {name: graph.inputs.index(name) for name in graph.inputs}
    renamed: dict[str, str] = {}
    dropped = set()
    starts = list(graph.inputs)
    for name in graph.inputs:
        behind = readers[name]
        steps = [op.outputs[0] for op in behind if op.kind == "QUANTIZE"]
        if graph.tensors[name].dtype != "float32" or not steps or len(steps) != len(behind) or name in graph.outputs:
            continue
        if any(not _same_steps(graph, step, steps[0]) for step in steps):
            continue
        starts[inputs[name]] = steps[0]
        renamed.update(dict.fromkeys(steps[1:], steps[0]))
        dropped.update(steps)
    ends = []
    for name in graph.outputs:
        op = producers.get(name)
        cut = op is not None and op.kind == "DEQUANTIZE" and graph.tensors[name].dtype == "float32"
        source = str(op.inputs[0]) if op is not None and cut else name
        if cut and source not in ends and not graph.tensors[source].is_constant:
            ends.append(renamed.get(source, source))
            if not readers[name]:
                dropped.add(name)
        else:
            ends.append(renamed.get(name, name))
    if not dropped and ends == list(graph.outputs):
        return graph
    ops = [op.with_inputs(renamed) for op in graph.ops if dropped.isdisjoint(op.outputs)]
    return graph.replaced(ops=ops, inputs=starts, outputs=ends)


def _same_steps(graph: Graph, one: str, other: str) -> bool:
    first, second = graph.tensors[one], graph.tensors[other]
    if first.dtype != second.dtype or first.quantization is None or second.quantization is None:
        return False
    return bool(
        first.quantization.scale.tobytes() == second.quantization.scale.tobytes()
        and first.quantization.zero_point.tobytes() == second.quantization.zero_point.tobytes()
    )
