"""What keeps a model from becoming C, all of it at once: ops without a kernel, uint8 weights, float values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError
from mnedge.graph.ops import LAYERS, weights_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.graph.graph import Graph, Op

_AT_THE_ENDS = ("QUANTIZE", "DEQUANTIZE")


def check_kernels(graph: Graph, supported: Sequence[str]) -> None:
    """Checks that there is a kernel for every op, and for its weights.

    Args:
        graph: The model.
        supported: Kinds of the ops that have one.

    Raises:
        UnsupportedError: The message names every kind that has none with its first op, and what to do.
    """
    unknown: dict[str, list[Op]] = {}
    for op in graph.ops:
        if op.kind not in supported and op.kind not in _AT_THE_ENDS:
            unknown.setdefault(op.kind, []).append(op)
    if unknown:
        named = ", ".join(f"{kind} ({_where(graph, ops)})" for kind, ops in sorted(unknown.items()))
        conversions = [op for op in graph.ops if op.kind == "DEQUANTIZE"]
        advice = _advice(graph, [*conversions, *(op for ops in unknown.values() for op in ops)])
        raise UnsupportedError(
            f"the model has ops that no C kernel exists for: {named}. {advice}Compiled are {', '.join(supported)}"
        )
    check_weights(graph)


def check_weights(graph: Graph) -> None:
    """Checks that weights are int8: uint8 ones have a zero point, which microcontrollers' kernels do not know.

    Raises:
        UnsupportedError: The message names the first op that has others.
    """
    legacy = [op for op in graph.ops if op.kind in LAYERS and graph.tensors[str(weights_of(op))].dtype == "uint8"]
    if legacy:
        raise UnsupportedError(
            f"the convolutions have uint8 weights ({_where(graph, legacy)}); symmetric int8 weights are due: `mnedge "
            "optimize IN.tflite --for TARGET -o OUT.tflite` makes them for a microcontroller, and measures what that "
            "changes"
        )


def _where(graph: Graph, ops: Sequence[Op]) -> str:
    """The place of the first of some ops, and how many there are."""
    place = next(place for place, op in enumerate(graph.ops) if op is ops[0])
    first = f"op {place}, output {ops[0].outputs[0]}"
    return first if len(ops) == 1 else f"{len(ops)} ops, the first {first}"


def _advice(graph: Graph, without: Sequence[Op]) -> str:
    """How to compile the model up to its last ops, where only they have no kernel."""
    outside = {name for op in without for name in op.outputs}
    readers = graph.consumers()
    last = [op for op in graph.ops if not outside.isdisjoint(op.outputs)]
    if any(outside.isdisjoint(reader.outputs) for op in last for name in op.outputs for reader in readers[name]):
        return ""
    needed = [
        str(name)
        for op in last
        for name in op.inputs
        if name is not None and name not in outside and not graph.tensors[name].is_constant
    ]
    names = dict.fromkeys([*(name for name in graph.outputs if name not in outside), *needed])
    if not names or not names.keys().isdisjoint(graph.inputs):
        return ""
    return f"The model without them compiles with --outputs {','.join(names)}. "
