"""Outputs of a network that int8 must keep, and the comparison of two versions of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def output_heads(graph: Graph, *, first_tells_classes: bool = False) -> list[tuple[str, bool]]:
    """Returns the tensor to compare of every output: (logits, True) before a softmax, else (the output, False).

    Args:
        graph: Graph of the network.
        first_tells_classes: Whether the first output is known to be logits of classes, though no softmax shows it.
    """
    producers = graph.producers()
    heads: list[tuple[str, bool]] = []
    for name in graph.outputs:
        op = producers.get(name)
        while op is not None and op.kind in ("RESHAPE", "ARG_MAX", "DEQUANTIZE", "QUANTIZE"):
            name, op = str(op.inputs[0]), producers.get(str(op.inputs[0]))  # noqa: PLW2901
        classes = op is not None and op.kind == "SOFTMAX"
        known = classes or (first_tells_classes and not heads)
        heads.append((str(op.inputs[0]) if classes and op is not None else name, known))
    return heads
