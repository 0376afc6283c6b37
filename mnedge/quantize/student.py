"""The fake-quantized network whose ranges, biases and weights are learned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mnedge.graph.executor import execute
from mnedge.quantize.fake_quantize import fake_quantize, fake_quantize_weights
from mnedge.quantize.parameters import Parameters, activation_quantizations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.quantize.scheme import Scheme

# TensorFlow is not imported for its types.
TensorLike: TypeAlias = Any

# Ops that only move or choose values: what they make lies on the steps of what they read.
_MOVING: tuple[str, ...] = (
    "CONCATENATION",
    "MAX_POOL_2D",
    "MAXIMUM",
    "MINIMUM",
    "PAD",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
)
_MOVING += ("SLICE", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE")


class Student:
    """Variables of a quantized network, and its forward pass.

    Ranges are learned as offsets in units of their first width, biases in units of the width of their layer's
    output, weights in units of their first step, and weight scales as logarithms, so that one learning rate
    fits a whole kind. Each kind is one vector: few large variables train faster than many small ones.

    Attributes:
        scheme: What is quantized.
        variables: The trained vectors by kind: "ranges", "biases", "weights" and "scales".
    """

    def __init__(self, scheme: Scheme, parameters: Parameters) -> None:
        import tensorflow as tf

        self.scheme = scheme
        self.start = parameters
        legal = activation_quantizations(scheme, parameters)
        self.ends = {name: _ends(legal[name]) for name in scheme.groups}
        self.trained = [name for name in scheme.free_groups if not scheme.graph.tensors[name].is_constant]
        self.moving = {op.outputs[0] for op in scheme.graph.ops if op.kind in _MOVING}
        layers = scheme.layers
        self.first_bias = np.concatenate([parameters.biases[layer.bias] for layer in layers])
        self.bias_unit = np.concatenate(
            [
                np.full_like(parameters.biases[layer.bias], np.ptp(self.ends[scheme.group[layer.output]]))
                for layer in layers
            ]
        )
        self.first_weights = np.concatenate([parameters.weights[layer.weights].ravel() for layer in layers])
        self.first_scales = np.concatenate([parameters.weight_scales[layer.weights] for layer in layers])
        self.scale_index = np.concatenate(_scale_indices(scheme, parameters))
        self.unit = self.first_scales[self.scale_index]
        fixed = [name for name in scheme.groups if name not in self.trained]
        self.fixed_widths = np.array([np.ptp(self.ends[name]) for name in fixed], np.float32)
        place = {name: index for index, name in enumerate([*self.trained, *fixed])}
        self.bias_input = np.concatenate(
            [np.full(parameters.biases[layer.bias].size, place[scheme.group[layer.data]], np.int32) for layer in layers]
        )
        self.bias_scale = np.concatenate(_bias_scale_indices(scheme, parameters))
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

    def scales(self) -> TensorLike:
        """The scales of all weights, one vector."""
        import tensorflow as tf

        return self.first_scales * tf.exp(self.variables["scales"])

    def bias_steps(self) -> TensorLike:
        """The step of every bias in int32: scale of the layer's input times scale of its weights."""
        import tensorflow as tf

        lows, highs = self.range_ends()
        input_scales = tf.concat([highs - lows, self.fixed_widths], 0) / 255
        return tf.gather(input_scales, self.bias_input) * tf.gather(self.scales(), self.bias_scale)

    def constants(self, *, int32_biases: bool = False) -> dict[str, TensorLike]:
        """Weights on their grid, and biases, on theirs if asked for, by tensor name."""
        import tensorflow as tf

        scale = tf.gather(self.scales(), self.scale_index)
        flat = fake_quantize_weights(self.first_weights + self.variables["weights"] * self.unit, scale)
        layers = self.scheme.layers
        shapes = [self.start.weights[layer.weights].shape for layer in layers]
        parts = tf.split(flat, [int(np.prod(shape)) for shape in shapes])
        found = {
            layer.weights: tf.reshape(part, shape) for layer, part, shape in zip(layers, parts, shapes, strict=True)
        }
        biases = self.first_bias + self.variables["biases"] * self.bias_unit
        if int32_biases:
            steps = self.bias_steps()
            biases += tf.stop_gradient(tf.round(biases / steps) * steps - biases)
        sizes = [self.start.biases[layer.bias].size for layer in layers]
        return found | {layer.bias: part for layer, part in zip(layers, tf.split(biases, sizes), strict=True)}

    def forward(self, images: TensorLike) -> Mapping[str, TensorLike]:
        """Every activation of the fake-quantized network.

        Args:
            images: float32 (N, H, W, C).
        """
        import tensorflow as tf

        lows, highs = (tf.unstack(ends, len(self.trained)) for ends in self.range_ends())
        learned = {name: (lows[index], highs[index]) for index, name in enumerate(self.trained)}
        graph_input = self.scheme.graph.inputs[0]

        def on_tensor(name: str, value: TensorLike) -> TensorLike:
            group = self.scheme.group.get(name)
            if group is None or name in self.moving:
                return value
            if group in learned:
                return fake_quantize(value, *learned[group])
            low, high = self.ends[group]
            # See `simulate`: pixels lie halfway between two steps.
            nudge = (high - low) / 255 * 1e-3 if name == graph_input else 0.0
            return fake_quantize(value + nudge, low, high)

        return execute(
            self.scheme.graph, {graph_input: images}, values=self.constants(int32_biases=True), on_tensor=on_tensor
        )

    def parameters(self) -> Parameters:
        """What has been learned so far, as a value."""
        lows, highs = (ends.numpy() for ends in self.range_ends())
        learned = {name: (float(lows[index]), float(highs[index])) for index, name in enumerate(self.trained)}
        constants = {name: value.numpy() for name, value in self.constants().items()}
        scales = np.asarray(self.scales())
        sizes = np.cumsum([self.start.weight_scales[layer.weights].size for layer in self.scheme.layers])
        parts = np.split(scales, sizes[:-1])
        return replace(
            self.start,
            ranges={**self.start.ranges, **learned},
            weights={layer.weights: constants[layer.weights] for layer in self.scheme.layers},
            weight_scales={layer.weights: part for layer, part in zip(self.scheme.layers, parts, strict=True)},
            biases={layer.bias: constants[layer.bias] for layer in self.scheme.layers},
        )


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


def _bias_scale_indices(scheme: Scheme, parameters: Parameters) -> list[NDArray[np.int32]]:
    """For every bias, the place of its weights' scale in the vector of all scales."""
    indices, offset = [], 0
    for layer in scheme.layers:
        count = parameters.weight_scales[layer.weights].size
        size = parameters.biases[layer.bias].size
        indices.append(offset + np.minimum(np.arange(size, dtype=np.int32), count - 1))
        offset += count
    return indices


def _ends(quantization: Any) -> tuple[np.float32, np.float32]:  # noqa: ANN401 - Quantization, under TYPE_CHECKING
    scale, zero_point = float(quantization.scale[0]), int(quantization.zero_point[0])
    return np.float32((-128 - zero_point) * scale), np.float32((127 - zero_point) * scale)


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
