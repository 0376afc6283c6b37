"""PAD folded into the convolution behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.ops import CONVOLUTIONS
from mnedge.passes._pass import read_once, same_quantization

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op


def apply(graph: Graph) -> Graph:
    """Drops a zero PAD before a VALID convolution where SAME pads the same rows and columns.

    Exact: SAME pads the real value 0, which in a quantized graph is the zero point, just as PAD does. Keras' MobileNets
    pad (0, 1) on each side before their convolutions of stride 2, and so does SAME for even sizes.
    """
    producers, once = graph.producers(), read_once(graph)
    folded: dict[str, Op] = {}
    for op in graph.ops:
        pad = producers.get(str(op.inputs[0])) if op.kind in CONVOLUTIONS else None
        if pad is not None and pad.kind == "PAD" and pad.outputs[0] in once and _pads_as_same(graph, pad, op):
            folded[pad.outputs[0]] = pad
    ops = []
    for op in graph.ops:
        if op.kind == "PAD" and op.outputs[0] in folded:
            continue
        if op.inputs and op.inputs[0] in folded:
            source = folded[str(op.inputs[0])].inputs[0]
            op = replace(op, inputs=(source, *op.inputs[1:])).with_options(padding="SAME")  # noqa: PLW2901
        ops.append(op)
    return graph.replaced(ops=ops)


def _pads_as_same(graph: Graph, pad: Op, convolution: Op) -> bool:
    source, padded = graph.tensors[str(pad.inputs[0])], graph.tensors[pad.outputs[0]]
    widths = graph.tensors[str(pad.inputs[1])].data
    # SAME pads as the height and width demand.
    if source.is_open or widths is None or convolution.options["padding"] != "VALID" or np.any(widths[[0, 3]] != 0):
        return False
    if not same_quantization(source.quantization, padded.quantization):
        return False
    kernel = graph.tensors[str(convolution.inputs[1])].shape[1:3]
    result = graph.tensors[convolution.outputs[0]].shape[1:3]
    for dim, axis in enumerate("hw"):
        stride = int(convolution.options[f"stride_{axis}"])
        reach = (kernel[dim] - 1) * int(convolution.options.get(f"dilation_{axis}_factor", 1)) + 1
        size = source.shape[dim + 1]
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        if result[dim] != -(-size // stride) or tuple(widths[dim + 1]) != (total // 2, total - total // 2):
            return False
    return True
