"""Additions and multiplications by constants, folded into the convolution before them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import constant
from mnedge.graph.ops import GATHERING, bias_of, weights_of
from mnedge.passes._pass import read_once

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op, Tensor


def apply(graph: Graph) -> Graph:
    """Folds ADD, SUB and MUL by a constant (one value, or one a channel) into a float convolution's weights and bias.

    Exact in real arithmetic: (W x + b) * m + c = (m W) x + (m b + c). This is how batch normalization, where it is
    still in the graph, and the + 3 of a hard-sigmoid go away.
    """
    while True:
        pair = _find(graph)
        if pair is None:
            return graph
        graph = _folded(graph, *pair)


def _find(graph: Graph) -> tuple[Op, Op, NDArray[np.float64]] | None:
    producers, once = graph.producers(), read_once(graph)
    for op in graph.ops:
        if op.kind not in ("ADD", "SUB", "MUL"):
            continue
        sides = (0, 1) if op.kind != "SUB" else (0,)
        for side in sides:
            source, other = str(op.inputs[side]), graph.tensors[str(op.inputs[1 - side])]
            convolution = producers.get(source)
            if convolution is None or convolution.kind not in GATHERING or source not in once:
                continue
            values = _per_channel(graph, convolution, other)
            if values is not None and _is_plain(graph, convolution):
                return convolution, op, values
    return None


def _is_plain(graph: Graph, convolution: Op) -> bool:
    """Returns whether a convolution is float, has constant weights of its own, and no activation."""
    weights, bias = graph.tensors[str(weights_of(convolution))], bias_of(convolution)
    return (
        convolution.options.get("activation", "NONE") == "NONE"
        and weights.is_constant
        and weights.dtype == "float32"
        and (bias is None or graph.tensors[bias].is_constant)
        and len(graph.consumers()[weights.name]) == 1
    )


def _per_channel(graph: Graph, convolution: Op, tensor: Tensor) -> NDArray[np.float64] | None:
    if tensor.data is None or tensor.dtype != "float32":
        return None
    channels = graph.tensors[convolution.outputs[0]].shape[-1]
    if tensor.data.size == 1 or (tensor.data.size == channels and tensor.shape[-1] == channels):
        return np.broadcast_to(tensor.data.astype(np.float64).ravel(), (channels,))
    return None


def _folded(graph: Graph, convolution: Op, op: Op, values: NDArray[np.float64]) -> Graph:
    weights = graph.tensors[str(weights_of(convolution))]
    bias_name = bias_of(convolution)
    bias = np.zeros(values.shape) if bias_name is None else graph.tensors[bias_name].real().astype(np.float64)
    assert weights.data is not None
    kernel = weights.data.astype(np.float64)
    if op.kind == "MUL":
        shape = [1] * kernel.ndim
        shape[GATHERING[convolution.kind].channel_axis] = values.size
        kernel, bias = kernel * values.reshape(shape), bias * values
    else:
        bias = bias + (values if op.kind == "ADD" else -values)
    new_bias = constant(graph.fresh_name(f"{op.outputs[0]}/bias"), bias.astype(np.float32))
    new_weights = replace(weights, data=kernel.astype(np.float32))
    merged = replace(
        convolution, inputs=(convolution.inputs[0], weights.name, new_bias.name), outputs=op.outputs
    ).with_options(activation=op.options.get("activation", "NONE"))
    ops = [merged if item is convolution else item for item in graph.ops if item is not op]
    return graph.replaced(tensors=(new_weights, new_bias), ops=ops)
