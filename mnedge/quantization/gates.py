"""Hard-swish gates in a form through which channels can be scaled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Graph, Op, constant
from mnedge.quantization.equalize import noise_gains

if TYPE_CHECKING:
    from collections.abc import Collection

    from mnedge.batch import Samples


def gated_outputs(graph: Graph) -> list[str]:
    """The products x * relu6(x + 3) of a lowered graph, by the name of the MUL's output, in order."""
    producers = graph.producers()
    found = []
    for op in graph.ops:
        if op.kind != "MUL" or None in op.inputs or len(set(op.inputs)) != 2:
            continue
        gate = next((producers[str(name)] for name in op.inputs if _is_gate(graph, producers.get(str(name)))), None)
        if gate is not None and set(gate.inputs) & set(op.inputs):
            found.append(op.outputs[0])
    return found


def worthwhile_gates(graph: Graph, images: Samples, least_gain: float) -> list[str]:
    """The products whose gates are worth a slower op: those whose noise costs most for each element computed.

    A 1 x 1 depthwise convolution costs XNNPACK more than the ADD it stands for, in proportion to the elements.

    Args:
        graph: Float graph, hard-swish lowered.
        images: float32 (N, H, W, C), or a `Batch`.
        least_gain: Least gain of a gate at the network's outputs, in nats per element; 0 takes every gate.
    """
    outputs = gated_outputs(graph)
    if not outputs or least_gain <= 0:
        return outputs
    gains = noise_gains(with_scalable_gates(graph, outputs), outputs, images)
    return [name for name in outputs if gains[name] / np.prod(graph.tensors[name].shape) >= least_gain]


def with_scalable_gates(graph: Graph, outputs: Collection[str]) -> Graph:
    """Turns ADD(x, 3) with RELU6 into a 1 x 1 depthwise convolution with weights 1 and bias 3.

    The same function and the same number of ops, but with a weight for each channel: when x is scaled by k, the
    weight 1/k takes it back, and x * relu6(x'/k + 3) is scaled by k as well. Without this a hard-swish, which is
    not homogeneous, stops every equalization, and the channels that live in its dip (-0.375 to 0) get
    a handful of steps beside channels that reach 40.

    Args:
        graph: Float graph, hard-swish lowered.
        outputs: The products (see `gated_outputs`) to change.
    """
    producers, consumers = graph.producers(), graph.consumers()
    tensors, changed = [], {}
    for output in outputs:
        product = producers[output]
        gate = next(producers[str(name)] for name in product.inputs if _is_gate(graph, producers.get(str(name))))
        if len(consumers[gate.outputs[0]]) != 1:
            continue
        data = next(str(name) for name in gate.inputs if not graph.tensors[str(name)].is_constant)
        shift = next(graph.tensors[str(name)] for name in gate.inputs if graph.tensors[str(name)].is_constant)
        channels = graph.tensors[data].shape[-1]
        weights = constant(f"{gate.outputs[0]}/weights", np.ones((1, 1, 1, channels), np.float32))
        bias = constant(
            f"{gate.outputs[0]}/bias", np.full(channels, float(shift.real().reshape(()))).astype(np.float32)
        )
        tensors += [weights, bias]
        options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "depth_multiplier": 1, "activation": "RELU6"}
        options |= {"dilation_h_factor": 1, "dilation_w_factor": 1}
        inputs = (data, weights.name, bias.name)
        changed[gate.outputs[0]] = replace(gate, kind="DEPTHWISE_CONV_2D", inputs=inputs, options=options, version=1)
    return graph.replaced(tensors=tensors, ops=[changed.get(op.outputs[0], op) for op in graph.ops])


def _is_gate(graph: Graph, op: Op | None) -> bool:
    if op is None or op.kind != "ADD" or op.options.get("activation") != "RELU6":
        return False
    data = [name for name in op.inputs if not graph.tensors[str(name)].is_constant]
    shift = [name for name in op.inputs if graph.tensors[str(name)].is_constant]
    return (
        len(data) == 1
        and len(shift) == 1
        and graph.tensors[str(shift[0])].shape == ()
        and len(graph.tensors[str(data[0])].shape) == 4
    )
