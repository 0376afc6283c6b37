"""A part of a graph: from other tensors on, up to other tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.graph.graph import Graph


def cut(graph: Graph, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> Graph:
    """Keeps what lies between some tensors.

    Args:
        graph: The whole.
        inputs: Activations that the caller feeds; none keeps the graph's own.
        outputs: Activations that the caller gets, in this order; none keeps the graph's own.

    Returns:
        The ops that the outputs need, in their order.

    Raises:
        InputError: A name is no activation of the graph, or the outputs need another input.
    """
    if graph.states and (inputs or outputs):
        raise InputError("a model that keeps state between calls has no parts; compile it whole")
    for name in (*inputs, *outputs):
        if name not in graph.tensors or graph.tensors[name].is_constant:
            raise InputError.unknown("tensor", name, [op.outputs[0] for op in graph.ops])
    new_inputs, new_outputs = tuple(inputs) or graph.inputs, tuple(outputs) or graph.outputs
    needed, kept = set(new_outputs), []
    for op in reversed(graph.ops):
        if needed.isdisjoint(op.outputs) or set(op.outputs) <= set(new_inputs):
            continue
        kept.append(op)
        needed.update(name for name in op.inputs if name is not None)
    made = {*new_inputs, *(name for op in kept for name in op.outputs)}
    lacking = [name for name in graph.inputs if name in needed and name not in made]
    if lacking:
        raise InputError(
            f"{', '.join(new_outputs)} cannot be computed from {', '.join(new_inputs)} alone: {', '.join(lacking)} "
            "is needed as well"
        )
    return graph.replaced(ops=kept[::-1], inputs=new_inputs, outputs=new_outputs)
