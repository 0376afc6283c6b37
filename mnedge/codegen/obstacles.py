"""Obstacles between a model and C, all at once: ops without a kernel, uint8 weights, float values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.cut import cut
from mnedge.graph.ops import LAYERS, RESHAPES, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnedge.graph.graph import Graph, Op

# Ops that `--io` and converters put around an int8 graph; they are cut off before C is made.
AT_THE_ENDS = ("QUANTIZE", "DEQUANTIZE")
_BESIDE = (*AT_THE_ENDS, *RESHAPES)


def check_kernels(graph: Graph, supported: Sequence[str], lowers: Callable[[Graph], bool]) -> None:
    """Checks that there is a kernel for every op.

    Args:
        graph: The model, its float ends cut off.
        supported: Kinds of the ops that have a kernel.
        lowers: Whether a part of the model becomes C; only then is it advised.

    Raises:
        UnsupportedError: The message names every kind that has none with its first op, and what to do.
    """
    outside = [op for op in graph.ops if op.kind not in supported or _is_float(graph, op)]
    if outside:
        unknown: dict[str, list[Op]] = {}
        for op in outside:
            if op.kind not in AT_THE_ENDS:
                unknown.setdefault(f"{op.kind}{' in float' if op.kind in supported else ''}", []).append(op)
        named = ", ".join(f"{kind} ({_where(graph, ops)})" for kind, ops in sorted(unknown.items()))
        if unknown and (_has_integers(graph) or any(op.kind not in (*supported, *AT_THE_ENDS) for op in outside)):
            raise UnsupportedError(
                f"the model has ops that no C kernel exists for: {named}. {_advice(graph, outside, lowers)}"
                f"Compiled are {', '.join(supported)}"
            )


def _is_float(graph: Graph, op: Op) -> bool:
    return any(graph.tensors[name].dtype.startswith("float") for name in (*op.inputs, *op.outputs) if name is not None)


def _has_integers(graph: Graph) -> bool:
    """Returns whether any activation is quantized; a float model has no op of its own to blame."""
    return any(
        tensor.quantization is not None and not tensor.is_constant and not tensor.dtype.startswith("float")
        for tensor in graph.tensors.values()
    )


def check_weights(graph: Graph) -> None:
    """Checks that weights are int8: uint8 ones have a zero point, which TFLM's kernels do not know.

    Raises:
        UnsupportedError: The message names the first op that has others.
    """
    legacy = [op for op in graph.ops if op.kind in LAYERS and graph.tensors[str(weights_of(op))].dtype == "uint8"]
    if legacy:
        raise UnsupportedError(
            f"the convolutions have uint8 weights ({_where(graph, legacy)}); TFLM takes symmetric int8 weights: "
            "`mnedge optimize IN.tflite --target TARGET -o OUT.tflite` makes them for a microcontroller, and measures "
            "what that changes"
        )


def _where(graph: Graph, ops: Sequence[Op]) -> str:
    """The place of the first of some ops, and how many there are."""
    place = next(place for place, op in enumerate(graph.ops) if op is ops[0])
    first = f"op {place}, output {ops[0].outputs[0]}"
    return first if len(ops) == 1 else f"{len(ops)} ops, the first {first}"


def _advice(graph: Graph, outside: Sequence[Op], lowers: Callable[[Graph], bool]) -> str:
    """Advises how to compile the rest of a model if only its first or last ops have no kernel; "" otherwise."""
    beside = {id(op) for op in outside} | {id(op) for op in graph.ops if op.kind in _BESIDE}
    readers, producers = graph.consumers(), graph.producers()
    before: set[str] = {*graph.inputs}  # made by ops in front of which none has a kernel
    for op in graph.ops:
        reads = [name for name in op.inputs if name is not None and not graph.tensors[name].is_constant]
        if id(op) in beside and all(name in before for name in reads):
            before.update(op.outputs)
    without = {id(op) for op in outside}
    after: set[str] = set()  # made by ops behind one that has none
    for op in graph.ops:
        if op.outputs[0] not in before and (id(op) in without or not after.isdisjoint(filter(None, op.inputs))):
            after.update(op.outputs)
            if id(op) not in beside:
                return ""
    inner = [op for op in graph.ops if op.outputs[0] not in after and op.outputs[0] not in before]
    if not inner:
        return ""
    made = {name for op in inner for name in op.outputs}
    read = [name for op in inner for name in op.inputs if name is not None and not graph.tensors[name].is_constant]
    starts = [_first_steps(graph, producers, name) for name in dict.fromkeys(read) if name not in made]
    ends = [
        name
        for op in inner
        for name in op.outputs
        if name in graph.outputs or any(reader.outputs[0] in after for reader in readers[name])
    ]
    feed = [] if {*starts} <= {*graph.inputs} else [*dict.fromkeys(starts)]
    outputs = [] if tuple(ends) == graph.outputs else ends
    if len(feed) > 1 or not (feed or outputs):
        return ""
    try:
        if not lowers(cut(graph, feed, outputs)):
            return ""
    except InputError:
        return ""
    asked = [*(f"--input {name}" for name in feed), *([f"--outputs {','.join(outputs)}"] if outputs else [])]
    return f"The model without them compiles with {' '.join(asked)}. "


def _first_steps(graph: Graph, producers: Mapping[str, Op], name: str) -> str:
    """The first tensor on the way to `name` that holds the same steps."""
    while name in producers and producers[name].kind in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"):
        before = str(producers[name].inputs[0])
        if graph.tensors[before].dtype != graph.tensors[name].dtype:
            break
        name = before
    return name
