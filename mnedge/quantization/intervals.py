"""Intervals of activations: the values that an op can make, and those that its consumers can tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.ops import ACTIVATION_LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op


Interval = tuple[float, float]
INFINITE: Interval = (-np.inf, np.inf)
_GATES = ("ADD", "DEPTHWISE_CONV_2D")
# Ranges of ops' outputs, whatever they read.
_MADE_INTERVALS: dict[str, Interval] = {
    "ABS": (0.0, np.inf),
    "ELU": (-1.0, np.inf),
    "EXP": (0.0, np.inf),
    "GELU": (-0.171, np.inf),
    "HARD_SWISH": (-0.375, np.inf),
    "LOGISTIC": (0.0, 1.0),
    "RSQRT": (0.0, np.inf),
    "SQRT": (0.0, np.inf),
    "SOFTMAX": (0.0, 1.0),
    "SQUARED_DIFFERENCE": (0.0, np.inf),
    "TANH": (-1.0, 1.0),
}


def hull(intervals: list[Interval]) -> Interval:
    """Returns the smallest interval that holds all others."""
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def made_interval(op: Op | None) -> Interval:
    """Returns the interval of an op's values; `None` is a graph input or a constant."""
    if op is None:
        return INFINITE
    if op.kind in ACTIVATION_LIMITS:
        return ACTIVATION_LIMITS[op.kind]
    if op.kind in _MADE_INTERVALS:
        return _MADE_INTERVALS[op.kind]
    return ACTIVATION_LIMITS[op.options.get("activation", "NONE")]


def read_interval(graph: Graph, op: Op, name: str, producers: Mapping[str, Op]) -> Interval:
    """Interval of an input outside which all values give an op's output the value at the nearer end."""
    if op.kind in ACTIVATION_LIMITS:
        return ACTIVATION_LIMITS[op.kind]
    if op.kind == "HARD_SWISH":
        return (-3.0, np.inf)
    if op.kind == "ADD":
        return _shifted_interval(graph, op, name)
    if op.kind == "DEPTHWISE_CONV_2D":
        return _scaled_interval(graph, op)
    if op.kind == "MUL" and op.inputs.count(name) == 1:
        gate = producers.get(str(next(other for other in op.inputs if other != name)))
        if gate is not None and gate.kind in ("ADD", "DEPTHWISE_CONV_2D") and name in gate.inputs:
            # x * relu6(x + 3) is 0 wherever the gate is.
            return (read_interval(graph, gate, name, producers)[0], np.inf)
    return INFINITE


def _shifted_interval(graph: Graph, op: Op, name: str) -> Interval:
    """For ADD(x, c) with a fused activation: the activation's interval seen from x."""
    other = graph.tensors[str(next((item for item in op.inputs if item != name), name))]
    if other.data is None or other.data.size != 1:
        return INFINITE
    shift = float(other.real().reshape(()))
    low, high = ACTIVATION_LIMITS[op.options.get("activation", "NONE")]
    return (low - shift, high - shift)


def _scaled_interval(graph: Graph, op: Op) -> Interval:
    """For a 1 x 1 depthwise convolution with a fused activation: the activation's interval seen from x."""
    weights, bias = graph.tensors[str(op.inputs[1])], graph.tensors[str(op.inputs[2])]
    low, high = ACTIVATION_LIMITS[op.options.get("activation", "NONE")]
    if weights.data is None or bias.data is None or weights.shape[1:3] != (1, 1) or np.any(weights.real() <= 0):
        return INFINITE
    scale = weights.real().ravel()
    return float(np.min((low - bias.real()) / scale)), float(np.max((high - bias.real()) / scale))


def channel_floor(graph: Graph, name: str) -> NDArray[np.float64]:
    """Returns the bound of each channel below which its consumers' outputs are constant: -3 before a hard-swish.

    Returns:
        (channels,), -inf where every value counts; where a gate is a 1 x 1 depthwise convolution, its channels'
        scales move the floor.
    """
    channels = graph.tensors[name].shape[-1] if graph.tensors[name].shape else 1
    nothing = np.full(channels, -np.inf)
    readers, producers = graph.consumers()[name], graph.producers()
    gates = [op for op in readers if op.options.get("activation") == "RELU6" and op.kind in _GATES]
    if name in graph.outputs or len(gates) != 1:
        return nothing
    made = gates[0].outputs[0]
    others = [op for op in readers if op is not gates[0]]
    if any(op.kind != "MUL" or made not in op.inputs or producers.get(made) is not gates[0] for op in others):
        return nothing
    if gates[0].kind == "ADD":
        return np.full(channels, _shifted_interval(graph, gates[0], name)[0])
    weights, bias = (graph.tensors[str(item)] for item in gates[0].inputs[1:3])
    if (
        weights.data is None
        or bias.data is None
        or weights.shape[1:] != (1, 1, channels)
        or np.any(weights.real() <= 0)
    ):
        return nothing
    return np.asarray(-bias.real().astype(np.float64) / weights.real().ravel())
