"""FULLY_CONNECTED on pooled features to a 1x1 CONV_2D."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Op, Quantization, Tensor, constant
from mnedge.graph.ops import bias_of
from mnedge.passes._pass import read_once

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph


def apply(graph: Graph) -> Graph:
    """Rewrites MEAN over height and width, FULLY_CONNECTED as MEAN that keeps its dimensions, CONV_2D, RESHAPE.

    Exact: a 1x1 convolution of one pixel is the same matrix product. Every LiteRT and tflite-runtime takes a
    convolution with one weight scale a channel; for FULLY_CONNECTED only the newer ones do, and the older are wrong.
    """
    producers, once = graph.producers(), read_once(graph)
    for op in graph.ops:
        mean = producers.get(str(op.inputs[0])) if op.kind == "FULLY_CONNECTED" else None
        if mean is not None and mean.kind == "MEAN" and mean.outputs[0] in once and _is_head(graph, mean, op):
            graph = _rewritten(graph, mean, op)
    return graph


def _is_head(graph: Graph, mean: Op, dense: Op) -> bool:
    axes = graph.tensors[str(mean.inputs[1])].data
    source, weights = graph.tensors[str(mean.inputs[0])], graph.tensors[str(dense.inputs[1])]
    return (
        axes is not None
        and sorted(axes.ravel().tolist()) == [1, 2]
        and len(source.shape) == 4
        and weights.is_constant
        and dense.options.get("weights_format", 0) == 0
        and len(graph.consumers()[weights.name]) == 1
    )


def _rewritten(graph: Graph, mean: Op, dense: Op) -> Graph:
    weights, result = graph.tensors[str(dense.inputs[1])], graph.tensors[dense.outputs[0]]
    pooled = graph.tensors[mean.outputs[0]]
    batch, channels = pooled.shape[0], pooled.shape[-1]
    assert weights.data is not None
    square = pooled.reshaped((batch, 1, 1, channels))
    kernel = replace(weights, shape=(result.shape[-1], 1, 1, channels), data=weights.data.reshape(-1, 1, 1, channels))
    scores = Tensor(
        graph.fresh_name(f"{result.name}/conv"), (batch, 1, 1, result.shape[-1]), result.dtype, result.quantization
    )
    shape = constant(graph.fresh_name(f"{result.name}/shape"), np.array(result.shape, np.int32))
    options = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "VALID"}
    options |= {"activation": dense.options.get("activation", "NONE")}
    # FULLY_CONNECTED may leave its bias out, CONV_2D may not.
    bias = graph.tensors[str(bias_of(dense))] if bias_of(dense) else _no_bias(graph, dense)
    inputs = (mean.outputs[0], weights.name, bias.name)
    convolution = Op("CONV_2D", inputs, (scores.name,), options)
    reshape = Op("RESHAPE", (scores.name, shape.name), (result.name,), {"new_shape": result.shape})
    ops: list[Op] = []
    for op in graph.ops:
        if op is mean:
            ops.append(mean.with_options(keep_dims=True))
        elif op is dense:
            ops += [convolution, reshape]
        else:
            ops.append(op)
    return graph.replaced(tensors=(square, kernel, scores, shape, bias), ops=ops)


def _no_bias(graph: Graph, dense: Op) -> Tensor:
    """Zeros, a channel each, in the dtype and the steps that a bias of these weights has."""
    data, weights = (graph.tensors[str(name)] for name in dense.inputs[:2])
    zeros = np.zeros(weights.shape[0], np.float32)
    name = graph.fresh_name(f"{dense.outputs[0]}/bias")
    if data.quantization is None or weights.quantization is None:
        return constant(name, zeros)
    scale = (data.quantization.scale * weights.quantization.scale).astype(np.float32)
    quantization = Quantization(scale, np.zeros(scale.shape, np.int64), 0 if scale.size > 1 else None)
    return constant(name, zeros.astype(np.int32), quantization)
