"""What calibration shows of every channel: its ends, its power, and what noise in it costs the output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.graph.executor import execute
from mnedge.quantize.outputs import output_heads
from mnedge.quantize.scheme import channel_floor

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph


_PIXELS_OF_AN_OUTLIER = 1000
_SENSITIVITY_IMAGES = 32
_SENSITIVITY_BATCH = 8
_DRAWS = 2


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Of one activation, (channels,) each, over calibration images.

    Attributes:
        low: Least x that matters to what reads it.
        high: Largest x.
        typical_low: Mean over the images of the least x but for one pixel in a thousand.
        typical_high: Mean over the images of the largest x but for one pixel in a thousand.
        power: Mean of x^2.
        sensitivity: What noise costs, in nats per unit of noise power (see `sensitivities`).
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    typical_low: NDArray[np.float64]
    typical_high: NDArray[np.float64]
    power: NDArray[np.float64]
    sensitivity: NDArray[np.float64]

    def scaled(self, factors: NDArray[np.float64]) -> ChannelStatistics:
        """What they become when each channel is multiplied by a positive factor."""
        return ChannelStatistics(
            low=self.low * factors,
            high=self.high * factors,
            typical_low=self.typical_low * factors,
            typical_high=self.typical_high * factors,
            power=self.power * factors**2,
            sensitivity=self.sensitivity / factors**2,
        )


def channel_statistics(
    graph: Graph, names: Collection[str], images: NDArray[np.float32], *, seed: int = 0, batch: int = 16
) -> dict[str, ChannelStatistics]:
    """Statistics of some activations of a float graph, channel by channel.

    Args:
        graph: Float graph with one input.
        names: Activations.
        images: float32 (N, H, W, C); sensitivities are taken from the first 32.
        seed: Of what is drawn for the sensitivities.
        batch: Images at a time.
    """
    import tensorflow as tf

    shape = (None, *graph.tensors[graph.inputs[0]].shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
    def run(pictures: Any) -> Any:  # noqa: ANN401 - tensors
        env = execute(graph, {graph.inputs[0]: pictures})
        found = {}
        for name in names:
            shape = env[name].shape
            pixels = tf.reshape(env[name], (-1, math.prod(shape[1:-1]), shape[-1]))
            planes = tf.transpose(pixels, (0, 2, 1))
            count = 1 + planes.shape[2] // _PIXELS_OF_AN_OUTLIER
            found[name] = (
                tf.reduce_min(pixels, 1),
                tf.reduce_max(pixels, 1),
                -tf.nn.top_k(-planes, count).values[:, :, -1],
                tf.nn.top_k(planes, count).values[:, :, -1],
                tf.reduce_mean(tf.square(pixels), 1),
            )
        return found

    seen: dict[str, list[list[NDArray[np.float32]]]] = {name: [] for name in names}
    for start in range(0, len(images), batch):
        for name, sums in run(tf.constant(images[start : start + batch])).items():
            seen[name].append([value.numpy() for value in sums])
    sensitivity = sensitivities(graph, names, images[:_SENSITIVITY_IMAGES], seed=seed)
    result = {}
    for name, found in seen.items():
        low, high, typical_low, typical_high, power = (
            np.concatenate(parts).astype(np.float64) for parts in zip(*found, strict=True)
        )
        floor = channel_floor(graph, name)
        result[name] = ChannelStatistics(
            low=np.maximum(low.min(0), floor),
            high=high.max(0),
            typical_low=np.maximum(typical_low, floor).mean(0),
            typical_high=typical_high.mean(0),
            power=power.mean(0),
            sensitivity=sensitivity[name],
        )
    return result


def sensitivities(
    graph: Graph, names: Collection[str], images: NDArray[np.float32], *, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """What noise of power 1 in each channel of an activation costs the network's outputs, in nats.

    Small independent noise of power v on the pixels of a channel moves the outputs' distribution by a
    Kullback-Leibler divergence of v times half the Fisher information, summed over the pixels (Martens 2020,
    eq. 10, arXiv:1412.1193). The information is the expected square of the gradient of log p(y | image), with y
    drawn from the network's own distribution: classes by their softmax, other outputs as Gaussians whose
    variance is that of the output over the images. It needs no labels.

    Args:
        graph: Float graph with one input.
        names: Activations.
        images: float32 (N, H, W, C).
        seed: Of the draws of y.

    Returns:
        (channels,) by activation; 0 where the outputs do not depend on it.
    """
    import tensorflow as tf

    shape = (None, *graph.tensors[graph.inputs[0]].shape[1:])
    heads = output_heads(graph)
    signature = [tf.TensorSpec(shape, tf.float32), tf.TensorSpec((2,), tf.int32)]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def run(pictures: Any, draw: Any) -> Any:  # noqa: ANN401 - tensors
        noise: dict[str, Any] = {}

        def on_tensor(name: str, value: Any) -> Any:  # noqa: ANN401
            if name not in names:
                return value
            noise[name] = tf.zeros_like(value)
            tape.watch(noise[name])
            return value + noise[name]

        with tf.GradientTape() as tape:
            env = execute(graph, {graph.inputs[0]: pictures}, on_tensor=on_tensor)
            likelihood = tf.add_n(
                [
                    _drawn_likelihood(env[name], classes=classes, draw=tf.add(draw, (0, place)))
                    for place, (name, classes) in enumerate(heads)
                ]
            )
        gradients = tape.gradient(likelihood, noise, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return {
            name: tf.reduce_sum(tf.square(value), list(range(len(value.shape) - 1)))
            for name, value in gradients.items()
        }

    total = {name: np.zeros(1) for name in names}
    for number in range(_DRAWS):
        for start in range(0, len(images), _SENSITIVITY_BATCH):
            found = run(tf.constant(images[start : start + _SENSITIVITY_BATCH]), tf.constant([seed + number, start]))
            total = {name: total[name] + found[name].numpy().astype(np.float64) for name in names}
    return {name: value / (2 * _DRAWS * len(images)) for name, value in total.items()}


def _drawn_likelihood(head: Any, *, classes: bool, draw: Any) -> Any:  # noqa: ANN401 - tensors
    """Sum over the images of log p(y), up to a constant, for y drawn from p; a mean over the pixels of a map."""
    import tensorflow as tf

    places = math.prod(head.shape[1:])
    if not classes:
        deviation = tf.math.reduce_std(tf.stop_gradient(head)) + 1e-9
        return tf.reduce_sum(tf.random.stateless_normal(tf.shape(head), draw) * head) / (deviation * math.sqrt(places))
    chances = tf.nn.log_softmax(head)
    # Gumbel 1954: the largest of log p + G is a draw from p.
    uniform = tf.random.stateless_uniform(tf.shape(head), draw, 1e-9, 1.0)
    drawn = tf.argmax(tf.stop_gradient(chances) - tf.math.log(-tf.math.log(uniform)), -1)
    picked = tf.gather(chances, drawn, batch_dims=len(head.shape) - 1, axis=-1)
    return tf.reduce_sum(picked) / math.sqrt(places / head.shape[-1])
