"""Biases that take back the shift of the mean that rounding caused, layer by layer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.graph.executor import execute, simulate
from mnedge.quantize.parameters import Parameters, to_int8

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph, Op
    from mnedge.quantize.scheme import Scheme

_MOST_IMAGES = 128
_LEAST_ACTIVE_FRACTION = 0.1


def correct_biases(scheme: Scheme, parameters: Parameters, images: NDArray[np.float32]) -> Parameters:
    """Adds to every bias the float channel mean minus the int8 one, after the fused activation, in order.

    The mean is taken before the layer's own output is rounded: a channel that has few steps swings around its mean
    by more than the bias can set right, and the next layer's correction sees that rounding anyway. Values that do
    not matter to what reads them (those below -3 for a hard-swish) do not count. Each layer is corrected with all
    layers before it quantized and corrected: the empirical bias correction of Nagel et al. 2019, section 4.2 and
    appendix D, arXiv:1906.04721. The difference of the means is divided by the share of values that the activation
    lets through, since only these move with the bias.

    Args:
        scheme: What is quantized.
        parameters: Ranges, weights and biases so far.
        images: float32 (N, H, W, C); the first 128 are used.
    """
    import tensorflow as tf

    images = images[:_MOST_IMAGES]
    int8 = to_int8(scheme, parameters)
    rounded = simulate(int8)
    biases = dict(parameters.biases)
    layer_of = {layer.output: layer for layer in scheme.layers}
    last_use = _last_use(scheme.graph)
    exact: dict[str, Any] = {scheme.graph.inputs[0]: tf.constant(images)}
    steps = {scheme.graph.inputs[0]: rounded(scheme.graph.inputs[0], tf.constant(images))}
    for number, op in enumerate(scheme.graph.ops):
        output = op.outputs[0]
        exact.update(_one(scheme.graph, op, exact))
        layer = layer_of.get(output)
        if layer is None:
            steps[output] = rounded(output, _one(int8, op, steps)[output])
        else:
            bounds = scheme.bounds[scheme.group[output]]
            made = _one(int8, op, steps, {layer.bias: tf.constant(biases[layer.bias])})[output]
            shift = _shift(*(tf.clip_by_value(value, *bounds) for value in (exact[output], made)))
            biases[layer.bias] = biases[layer.bias] + shift
            values = {layer.bias: tf.constant(biases[layer.bias])}
            steps[output] = rounded(output, _one(int8, op, steps, values)[output])
        for name in [name for name in exact if last_use.get(name, -1) == number]:
            exact.pop(name)
            steps.pop(name)
    return replace(parameters, biases=biases)


def _one(graph: Graph, op: Op, env: dict[str, Any], values: dict[str, Any] | None = None) -> dict[str, Any]:
    feeds = {name: env[name] for name in op.inputs if name is not None and name in env}
    made = execute(graph, feeds, ops=[op], values=values)
    return {name: made[name] for name in op.outputs}


def _shift(exact: Any, made: Any) -> NDArray[np.float32]:  # noqa: ANN401 - tensors
    axes = tuple(range(len(made.shape) - 1))
    exact, made = exact.numpy(), made.numpy()
    low, high = made.min(), made.max()
    active = np.mean((made > low) & (made < high), axis=axes)
    shift = (exact - made).mean(axis=axes, dtype=np.float64)
    return np.asarray(shift / np.maximum(active, _LEAST_ACTIVE_FRACTION), np.float32)


def _last_use(graph: Graph) -> dict[str, int]:
    last = {}
    for number, op in enumerate(graph.ops):
        for name in (*op.inputs, *op.outputs):
            if name is not None:
                last[name] = number
    return last
