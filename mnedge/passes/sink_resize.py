"""RESIZE_BILINEAR moved behind a pointwise convolution that makes fewer channels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.passes._pass import read_once

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op


def apply(graph: Graph) -> Graph:
    """Lets a float CONV_2D of 1 x 1 work on the small picture and enlarges its result instead of its input.

    Exact in real arithmetic: interpolation treats channels alike, a pointwise convolution treats pixels alike, and
    interpolation weights sum to 1, so the bias stays what it was. LR-ASPP scores classes on an enlarged map of 128
    channels; behind this the convolution has a quarter of the pixels, and the resize as many channels as classes.
    """
    producers, once = graph.producers(), read_once(graph)
    for op in graph.ops:
        resize = producers.get(str(op.inputs[0])) if op.kind == "CONV_2D" else None
        if (
            resize is not None
            and resize.kind == "RESIZE_BILINEAR"
            and resize.outputs[0] in once
            and _is_pointwise(graph, op)
            and _is_less(graph, resize, op)
        ):
            graph = _swapped(graph, resize, op)
    return graph


def _is_pointwise(graph: Graph, op: Op) -> bool:
    return (
        graph.tensors[str(op.inputs[1])].shape[1:3] == (1, 1)
        and op.options["stride_h"] == op.options["stride_w"] == 1
        and op.options.get("activation", "NONE") == "NONE"
        and graph.tensors[op.outputs[0]].quantization is None
    )


def _is_less(graph: Graph, resize: Op, op: Op) -> bool:
    """Returns whether the convolution has fewer pixels in front and the resize fewer channels behind."""
    source, enlarged = graph.tensors[str(resize.inputs[0])], graph.tensors[resize.outputs[0]]
    if source.is_open or enlarged.is_open:
        return False
    before, between = source.shape, enlarged.shape
    return math.prod(before) < math.prod(between) and graph.tensors[op.outputs[0]].shape[3] <= between[3]


def _swapped(graph: Graph, resize: Op, op: Op) -> Graph:
    result = graph.tensors[op.outputs[0]]
    source = graph.tensors[str(resize.inputs[0])]
    small = result.reshaped((*source.shape[:3], result.shape[3]), graph.fresh_name(f"{result.name}/small"))
    convolution = replace(op, inputs=(source.name, *op.inputs[1:]), outputs=(small.name,))
    enlarged = replace(resize, inputs=(small.name, *resize.inputs[1:]), outputs=op.outputs)
    ops = [
        new for item in graph.ops if item is not resize for new in ([convolution, enlarged] if item is op else [item])
    ]
    return graph.replaced(tensors=(small,), ops=ops)
