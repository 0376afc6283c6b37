"""Outputs of a network that int8 must keep, and the comparison of two versions of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def output_heads(graph: Graph) -> list[tuple[str, bool]]:
    """Returns the tensor to compare of every output: (logits, True) before a softmax, else (the output, False)."""
    producers = graph.producers()
    heads = []
    for name in graph.outputs:
        op = producers.get(name)
        while op is not None and op.kind in ("RESHAPE", "ARG_MAX", "DEQUANTIZE", "QUANTIZE"):
            name, op = str(op.inputs[0]), producers.get(str(op.inputs[0]))  # noqa: PLW2901
        classes = op is not None and op.kind == "SOFTMAX"
        heads.append((str(op.inputs[0]) if classes and op is not None else name, classes))
    return heads
