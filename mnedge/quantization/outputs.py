"""What int8 may not change: the outputs of a network, and how two versions of them are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def output_heads(graph: Graph) -> list[tuple[str, bool]]:
    """What to compare of every output: (logits, True) before a softmax, otherwise (the output, False)."""
    producers = graph.producers()
    heads = []
    for name in graph.outputs:
        op = producers.get(name)
        while op is not None and op.kind in ("RESHAPE", "ARG_MAX", "DEQUANTIZE", "QUANTIZE"):
            name, op = str(op.inputs[0]), producers.get(str(op.inputs[0]))  # noqa: PLW2901
        classes = op is not None and op.kind == "SOFTMAX"
        heads.append((str(op.inputs[0]) if classes and op is not None else name, classes))
    return heads
