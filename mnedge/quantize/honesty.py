"""int8 means int8: the ops of a graph that compute in float are named, or it is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Collection

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


def check_int8(graph: Graph, allowed: Collection[str] = ()) -> list[Op]:
    """Makes sure that a graph computes in integers, but for the op kinds that were allowed to be float.

    Args:
        graph: The quantized graph.
        allowed: Op kinds, as in `--allow-float`. The QUANTIZE and DEQUANTIZE around them are allowed with them.

    Returns:
        The float ops that were allowed, for the report.

    Raises:
        UnsupportedError: Another op is float; the message names each one and the tensor that it makes.
    """
    found = float_ops(graph)
    free = {*allowed, "QUANTIZE", "DEQUANTIZE"} if allowed else set()
    refused = [op for op in found if op.kind not in free]
    if refused:
        named = "; ".join(f"{op.kind} ({op.outputs[0]})" for op in refused[:8])
        more = f" and {len(refused) - 8} more" if len(refused) > 8 else ""
        flags = " ".join(f"--allow-float {kind}" for kind in sorted({op.kind for op in refused}))
        raise UnsupportedError(
            f"{len(refused)} of {len(graph.ops)} ops of the int8 graph are float: {named}{more}; "
            f"lower them, or keep them float with {flags}"
        )
    return found
