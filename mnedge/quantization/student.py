"""The fake-quantized network whose ranges, biases and weights are learned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.executor import execute
from mnedge.graph.ops import ACTIVATION_LIMITS, info
from mnedge.quantization import integer
from mnedge.quantization.parameters import Parameters, activation_quantizations, legal_weight_scale

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from tensorflow.types.experimental import TensorLike

    from mnedge.graph.graph import Op
    from mnedge.quantization.integer import Grid
    from mnedge.quantization.scheme import Layer, Scheme


class Student:
    """Variables of a quantized network, and its forward pass.

    Ranges are learned as offsets in units of their first width, biases in units of the width of their layer's
    output, weights in units of their first step, and weight scales as logarithms, so that one learning rate
    fits a whole kind. Each kind is one vector: few large variables train faster than many small ones.

    Attributes:
        scheme: Quantization scheme of the graph.
        variables: The trained vectors by kind: "ranges", "biases", "weights" and "scales".
    """

    def __init__(self, scheme: Scheme, parameters: Parameters) -> None:
        import tensorflow as tf

        self.scheme = scheme
        self.start = parameters
        legal = activation_quantizations(scheme, parameters)
        grids = {name: integer.fixed_grid(legal[name]) for name in scheme.groups}
        self.ends = {name: (grid.low * grid.scale, grid.high * grid.scale) for name, grid in grids.items()}
        self.trained = [name for name in scheme.free_groups if not scheme.graph.tensors[name].is_constant]
        self.fixed = {name: grid for name, grid in grids.items() if name not in self.trained}
        self.layers = {layer.output: layer for layer in scheme.layers}
        layers = scheme.layers
        self.first_bias = np.concatenate([parameters.biases[layer.bias] for layer in layers])
        self.bias_unit = np.concatenate(
            [
                np.full_like(parameters.biases[layer.bias], np.ptp(self.ends[scheme.group[layer.output]]))
                for layer in layers
            ]
        )
        self.first_weights = np.concatenate([parameters.weights[layer.weights].ravel() for layer in layers])
        data_scales = [float(legal[scheme.group[layer.data]].scale[0]) for layer in layers]
        scales = [legal_weight_scale(layer, parameters, s) for layer, s in zip(layers, data_scales, strict=True)]
        self.first_scales = np.concatenate(scales)
        self.scale_index = np.concatenate(_scale_indices(scheme, parameters))
        self.unit = self.first_scales[self.scale_index]
        variables = {
            "ranges": np.zeros((len(self.trained), 2), np.float32),
            "biases": np.zeros_like(self.first_bias),
            "weights": np.zeros_like(self.first_weights),
            "scales": np.zeros_like(self.first_scales),
        }
        self.variables = {kind: tf.Variable(value, name=kind) for kind, value in variables.items()}

    def range_ends(self) -> tuple[TensorLike, TensorLike]:
        """The ends of the trained groups' ranges, two vectors; an end at 0 stays there."""
        import tensorflow as tf

        first = np.array([self.ends[name] for name in self.trained], np.float32)
        width = first[:, 1] - first[:, 0]
        moved = self.variables["ranges"]
        low = tf.where(first[:, 0] < 0, tf.minimum(first[:, 0] + width * moved[:, 0], 0.0), 0.0)
        high = tf.where(first[:, 1] > 0, tf.maximum(first[:, 1] + width * moved[:, 1], 0.0), 0.0)
        return low, tf.maximum(high, low + width * 0.01)

    def grids(self) -> dict[str, Grid]:
        """The steps of every group."""
        import tensorflow as tf

        lows, highs = (tf.unstack(ends, len(self.trained)) for ends in self.range_ends())
        learned = zip(self.trained, lows, highs, strict=True)
        return {**self.fixed, **{name: integer.learned_grid(low, high) for name, low, high in learned}}

    def scales(self) -> TensorLike:
        """The scales of all weights, one vector."""
        import tensorflow as tf

        return self.first_scales * tf.exp(self.variables["scales"])

    def weight_steps(self) -> TensorLike:
        """Weights in steps of their scales, one vector."""
        import tensorflow as tf

        scale = tf.gather(self.scales(), self.scale_index)
        return integer.weight_steps(self.first_weights + self.variables["weights"] * self.unit, scale)

    def biases(self) -> TensorLike:
        """Biases in real values, one vector."""
        return self.first_bias + self.variables["biases"] * self.bias_unit

    def forward(self, images: TensorLike) -> Mapping[str, TensorLike]:
        """Computes all activations of the fake-quantized network, real values equal to the int8 model's step by step.

        Args:
            images: float32 (N, H, W, C).
        """
        graph, group, grids = self.scheme.graph, self.scheme.group, self.grids()
        constants = self._by_layer(self.weight_steps(), self.scales(), self.biases())
        source = graph.inputs[0]
        env = {source: integer.pixel_steps(images, grids[group[source]])}
        for name in group:
            data = graph.tensors[name].data
            if data is not None:
                env[name] = np.round(data / grids[group[name]].scale)
        for op in graph.ops:
            output = op.outputs[0]
            if output not in group or self.scheme.is_float(op):
                env.update(self._made_in_float(op, env, grids))
            elif output in self.layers:
                env[output] = self._made_by_layer(self.layers[output], env, grids, constants[output])
            else:
                env.update(self._made(op, env, grids))
        return {name: self._real(name, value, grids) for name, value in env.items()}

    def _made_by_layer(
        self,
        layer: Layer,
        env: Mapping[str, TensorLike],
        grids: Mapping[str, Grid],
        constants: tuple[TensorLike, ...],
    ) -> TensorLike:
        weights, scales, biases = constants
        unit = grids[self.scheme.group[layer.data]].scale * scales
        values = {layer.weights: weights, layer.bias: integer.bias_steps(biases, unit)}
        bare = replace(layer.op, options={**layer.op.options, "activation": "NONE"})
        sums = execute(self.scheme.graph, {layer.data: env[layer.data]}, ops=(bare,), values=values)[layer.output]
        made = integer.clipped(grids[self.scheme.group[layer.output]], _interval(layer.op))
        return integer.requantize(sums, unit / made.scale, made)

    def _made(self, op: Op, env: Mapping[str, TensorLike], grids: Mapping[str, Grid]) -> dict[str, TensorLike]:
        """Steps that an op without weights makes, by output."""
        graph, output = self.scheme.graph, op.outputs[0]
        read = [str(name) for name in op.inputs if name in env]
        if info(op).moves and op.options.get("activation", "NONE") == "NONE":
            moved = execute(graph, {name: env[name] for name in read}, ops=(op,))
            return {name: moved[name] for name in op.outputs}
        made = integer.clipped(grids[self.scheme.group[output]], _interval(op))
        given = [grids[self.scheme.group[name]] for name in read]
        if op.kind == "MEAN":
            sums = execute(graph, {read[0]: env[read[0]]}, ops=(replace(op, kind="SUM"),))[output]
            count = math.prod(graph.tensors[read[0]].shape) // math.prod(graph.tensors[output].shape)
            return {output: integer.mean(sums, count, given[0], made)}
        if op.kind == "LEAKY_RELU":
            return {output: integer.leaky_relu(env[read[0]], float(op.options.get("alpha", 0.0)), given[0], made)}
        if op.kind in integer.PAIRS and len(read) == len(op.inputs):
            return {output: integer.PAIRS[op.kind](env[read[0]], env[read[1]], (given[0], given[1]), made)}
        return self._made_in_float(op, env, grids)

    def _made_in_float(self, op: Op, env: Mapping[str, TensorLike], grids: Mapping[str, Grid]) -> dict[str, TensorLike]:
        """Runs an op in float and rounds its outputs if they are quantized."""
        read = [str(name) for name in op.inputs if name in env]
        real = {name: self._real(name, env[name], grids) for name in read}
        made = execute(self.scheme.graph, real, ops=(op,))
        return {name: self._steps(name, made[name], grids) for name in op.outputs}

    def _steps(self, name: str, value: TensorLike, grids: Mapping[str, Grid]) -> TensorLike:
        group = self.scheme.group.get(name)
        return value if group is None else integer.requantize(value, 1 / grids[group].scale, grids[group])

    def _real(self, name: str, value: TensorLike, grids: Mapping[str, Grid]) -> TensorLike:
        group = self.scheme.group.get(name)
        return value if group is None else value * grids[group].scale

    def _by_layer(
        self, weights: TensorLike, scales: TensorLike, biases: TensorLike
    ) -> dict[str, tuple[TensorLike, ...]]:
        """Cuts three vectors of all layers into those of each, by the layer's output."""
        import tensorflow as tf

        layers, start = self.scheme.layers, self.start
        shapes = [start.weights[layer.weights].shape for layer in layers]
        parts = (
            tf.split(weights, [int(np.prod(shape)) for shape in shapes]),
            tf.split(scales, [start.weight_scales[layer.weights].size for layer in layers]),
            tf.split(biases, [start.biases[layer.bias].size for layer in layers]),
        )
        return {
            layer.output: (tf.reshape(own, shape), scale, bias)
            for layer, shape, own, scale, bias in zip(layers, shapes, *parts, strict=True)
        }

    def parameters(self) -> Parameters:
        """Returns the state of the training, as a value."""
        lows, highs = (ends.numpy() for ends in self.range_ends())
        learned = {name: (float(lows[index]), float(highs[index])) for index, name in enumerate(self.trained)}
        constants = self._by_layer(self.weight_steps(), self.scales(), self.biases())
        weights, scales, biases = {}, {}, {}
        for layer in self.scheme.layers:
            steps, scale, bias = (value.numpy() for value in constants[layer.output])
            along = [1] * steps.ndim
            along[layer.axis] = scale.size
            weights[layer.weights] = steps * scale.reshape(along)
            scales[layer.weights], biases[layer.bias] = scale, bias
        return replace(
            self.start, ranges={**self.start.ranges, **learned}, weights=weights, weight_scales=scales, biases=biases
        )


def _interval(op: Op) -> tuple[float, float]:
    """The ends of an op's fused activation."""
    return ACTIVATION_LIMITS[op.options.get("activation", "NONE")]


def _scale_indices(scheme: Scheme, parameters: Parameters) -> list[NDArray[np.int32]]:
    """For every weight, the place of its scale in the vector of all scales."""
    indices, offset = [], 0
    for layer in scheme.layers:
        weights, count = parameters.weights[layer.weights], parameters.weight_scales[layer.weights].size
        shape = [1] * weights.ndim
        shape[layer.axis] = count
        index = offset + np.arange(count, dtype=np.int32).reshape(shape)
        indices.append(np.broadcast_to(index, weights.shape).ravel())
        offset += count
    return indices


def cut_points(scheme: Scheme) -> list[str]:
    """The activations through which everything behind them goes: the ends of the network's blocks, in order."""
    graph = scheme.graph
    last = {name: number for number, op in enumerate(graph.ops) for name in op.inputs if name is not None}
    last.update(dict.fromkeys(graph.outputs, len(graph.ops)))
    live = set(graph.inputs)
    found = []
    for number, op in enumerate(graph.ops):
        live |= set(op.outputs)
        live = {name for name in live if last.get(name, -1) > number}
        name = op.outputs[0]
        if live == {name} and name not in graph.outputs and name in scheme.group:
            found.append(name)
    return found
