"""int8 means int8: the ops of a graph that compute in float are named, or it is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError
from mnedge.graph.kernels import KERNELS
from mnedge.graph.precision import float_ops

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from mnedge.graph.graph import Graph, Op


_MOST_NAMED = 8
_LONGEST_NAME = 80


def check_int8(graph: Graph, allowed: Collection[str] = ()) -> list[Op]:
    """Checks that a graph computes in integers, except for the op kinds that may stay float.

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
        raise UnsupportedError(
            f"{len(refused)} of {len(graph.ops)} ops of the int8 graph are float: {named_ops(refused)}; "
            f"{way_out(refused)}"
        )
    return found


def named_ops(ops: Sequence[Op]) -> str:
    """Ops by kind with the tensor that each one makes, for messages; the first few."""
    named = "; ".join(f"{op.kind} ({op.outputs[0][:_LONGEST_NAME]})" for op in ops[:_MOST_NAMED])
    return named + (f" and {len(ops) - _MOST_NAMED} more" if len(ops) > _MOST_NAMED else "")


def way_out(ops: Iterable[Op]) -> str:
    """Advises on ops without an int8 form: keep them float where they can run, or go without."""
    kinds = {op.kind for op in ops}
    # An op that may be float is so with the QUANTIZE and DEQUANTIZE around it.
    kinds = kinds - {"QUANTIZE", "DEQUANTIZE"} or kinds
    floats = [f"--allow-float {kind}" for kind in sorted(kinds) if kind in KERNELS]
    others = sorted(kind for kind in kinds if kind not in KERNELS)
    ways = [f"keep them float with {' '.join(floats)}"] if floats else []
    if others:
        ways.append(f"export the model without {', '.join(others)}, which can stay in the app before or behind it")
    return " and ".join(ways)
