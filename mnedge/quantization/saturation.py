"""Channels that a hard-swish passes as they are, made no larger than they need to be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.quantization.channels import ChannelMeasurements, channel_statistics
from mnedge.quantization.gates import gated_outputs
from mnedge.quantization.scheme import layers_of, with_own_constants
from mnedge.quantization.streams import Stream, scale_stream

if TYPE_CHECKING:
    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph

# Above 3 a hard-swish is the identity; the margin is for pictures that calibration has not seen.
_IDENTITY_FROM = 3.0
_MARGIN = 1.05


def shrink_saturated(graph: Graph, images: Samples) -> Graph:
    """Scales channels that always lie above 3 down to where they just do.

    x * relu6(x + 3) / 6 = x for x >= 3 (Howard et al. 2019, section 5.2, arXiv:1905.02244), so that such a channel
    takes a factor, which the readers' weights take back, like the linear channels of Nagel et al. 2019, section
    4.1, arXiv:1906.04721. A first convolution often has channels that lie far above 3 and hardly move, and their
    range costs all the others most of their steps.

    Args:
        graph: Float graph, hard-swish lowered.
        images: float32 (N, H, W, C), or a `Batch`.

    Returns:
        A graph that makes the same of these images.
    """
    graph = with_own_constants(graph)
    streams = _streams(graph)
    if not streams:
        return graph
    measured = ChannelMeasurements(channel_statistics(graph, [stream.members[0] for stream in streams], images), {})
    layers = [layer for stream in streams for layer in (*stream.makers, *stream.readers)]
    weights = {layer.weights: graph.tensors[layer.weights].real().astype(np.float64) for layer in layers}
    biases = {layer.bias: graph.tensors[layer.bias].real().astype(np.float64) for layer in layers}
    for stream in streams:
        lowest = measured.statistics[stream.members[0]].low
        least = _MARGIN * _IDENTITY_FROM
        scale_stream(stream, least / np.maximum(lowest, least), measured, weights, biases)
    changed = {**weights, **biases}
    return graph.replaced(
        tensors=[replace(graph.tensors[name], data=value.astype(np.float32)) for name, value in changed.items()]
    )


def _streams(graph: Graph) -> list[Stream]:
    """The data of every hard-swish that one layer makes and only layers read."""
    layers = layers_of(graph)
    producers, consumers = graph.producers(), graph.consumers()
    streams = []
    for product in gated_outputs(graph):
        names = [str(name) for name in producers[product].inputs]
        gate = next(name for name in names if producers[name].options.get("activation") == "RELU6")
        data = next(name for name in names if name != gate)
        makers = [layer for layer in layers if layer.output == data and layer.op.options.get("activation") == "NONE"]
        readers = [layer for layer in layers if layer.data == product]
        alone = (len(consumers[data]), len(consumers[gate])) == (2, 1) and product not in graph.outputs
        if makers and alone and len(readers) == len(consumers[product]):
            streams.append(Stream([data], makers, readers))
    return streams
