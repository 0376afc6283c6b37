"""int8 means int8: the ops of a graph that compute in float are named, or it is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError
from mnedge.graph.precision import float_ops

if TYPE_CHECKING:
    from collections.abc import Collection

    from mnedge.graph.graph import Graph, Op


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
