"""Ops that TFLite computes within one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from mnedge.codegen.program import Value
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


def values_of_one_scale(
    source: Source, op: Op, rule: str, data: int = 0, output: str | None = None
) -> tuple[Value, Value]:
    """The input and the output of an op, of one dtype, scale and zero point.

    Args:
        source: The graph.
        op: Takes one activation.
        rule: Rule of such ops, for the message.
        data: Index of the activation among the inputs.
        output: Name of the output; None for the first.

    Raises:
        UnsupportedError: They differ.
    """
    x, y = source.value(str(op.inputs[data])), source.value(output or op.outputs[0])
    if (x.dtype, x.scale, x.zero_point) != (y.dtype, y.scale, y.zero_point):
        raise UnsupportedError(f"{source.where(op)} changes the scale; {rule}")
    return x, y
