"""Statistics of every channel: its range, its power, and the cost of its noise at the output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from mnedge.batch import batch_of
from mnedge.graph.executor import execute
from mnedge.quantization.interpret import interpret
from mnedge.quantization.intervals import channel_floor
from mnedge.quantization.outputs import output_heads

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph
    from mnedge.untyped import AnyArray


_PIXELS_OF_AN_OUTLIER = 1000
# Beyond, every other pixel (every third, …) shows as well which values are outliers.
_PIXELS_SORTED = 4096
_SENSITIVITY_IMAGES = 32
_SENSITIVITY_BATCH = 8


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Statistics of one activation over calibration images, (channels,) each.

    Attributes:
        low: Least x that matters to what reads it.
        high: Largest x.
        typical_low: Mean over the images of the least x, without one pixel in a thousand.
        typical_high: Mean over the images of the largest x, without one pixel in a thousand.
        power: Mean of x^2.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    typical_low: NDArray[np.float64]
    typical_high: NDArray[np.float64]
    power: NDArray[np.float64]

    def scaled(self, factors: NDArray[np.float64]) -> ChannelStatistics:
        """Returns the statistics after each channel is multiplied by a positive factor."""
        return ChannelStatistics(
            low=self.low * factors,
            high=self.high * factors,
            typical_low=self.typical_low * factors,
            typical_high=self.typical_high * factors,
            power=self.power * factors**2,
        )


@dataclass(frozen=True, eq=False)
class ChannelMeasurements:
    """Statistics of some activations of one graph, by name; kept true while channels are scaled.

    Attributes:
        statistics: See `channel_statistics`.
        sensitivity: See `sensitivities`.
    """

    statistics: dict[str, ChannelStatistics]
    sensitivity: dict[str, NDArray[np.float64]]

    def scale(self, name: str, factors: NDArray[np.float64]) -> None:
        """Follows a positive factor on each channel of an activation, in place."""
        if name in self.statistics:
            self.statistics[name] = self.statistics[name].scaled(factors)
        if name in self.sensitivity:
            self.sensitivity[name] = self.sensitivity[name] / factors**2


def channel_statistics(graph: Graph, names: Collection[str], images: Samples) -> dict[str, ChannelStatistics]:
    """Statistics of some activations of a float graph, channel by channel.

    Args:
        graph: Float graph.
        names: Activations.
        images: float32 (N, H, W, C), or a `Batch`.
    """
    names = list(dict.fromkeys(names))
    if not names:
        return {}
    seen = interpret(graph.replaced(outputs=names), images, lambda _, outputs: [_of_image(made) for made in outputs])
    result = {}
    for name, found in zip(names, zip(*seen, strict=True), strict=True):
        low, high, typical_low, typical_high, power = (np.stack(parts) for parts in zip(*found, strict=True))
        floor = channel_floor(graph, name)
        result[name] = ChannelStatistics(
            low=np.maximum(low.min(0), floor),
            high=high.max(0),
            typical_low=np.maximum(typical_low, floor).mean(0),
            typical_high=typical_high.mean(0),
            power=power.mean(0),
        )
    return result


def _of_image(made: NDArray[np.float32]) -> tuple[NDArray[np.float64], ...]:
    """Returns (channels,) each: least, largest, both without outliers, and mean square."""
    pixels = made.reshape(-1, made.shape[-1])
    low, high = pixels.min(0), pixels.max(0)
    typical_low, typical_high = low, high
    few = pixels[:: max(1, len(pixels) // _PIXELS_SORTED)]
    outliers = len(few) // _PIXELS_OF_AN_OUTLIER
    if outliers:
        ordered = np.partition(few, (outliers, len(few) - 1 - outliers), axis=0)
        typical_low, typical_high = ordered[outliers], ordered[-1 - outliers]
    power = np.einsum("pc,pc->c", pixels, pixels) / len(pixels)
    return tuple(value.astype(np.float64) for value in (low, high, typical_low, typical_high, power))


def sensitivities(
    graph: Graph, names: Collection[str], images: Samples, *, seed: int = 0, draws: int = 1
) -> dict[str, NDArray[np.float64]]:
    """Returns the cost of noise of power 1 in each channel of an activation at the network's outputs, nats.

    Small independent noise of power v on the pixels of a channel moves the outputs' distribution by a
    Kullback-Leibler divergence of v times half the Fisher information, summed over the pixels (Martens 2020,
    eq. 10, arXiv:1412.1193). The information is the expected square of the gradient of log p(y | image), with y
    drawn from the network's own distribution: classes by their softmax, other outputs as Gaussians whose
    variance is that of the output over the images. It needs no labels.

    Args:
        graph: Float graph.
        names: Activations.
        images: float32 (N, H, W, C), or a `Batch`; the first 32 are used.
        seed: Seed of the draws of y.
        draws: Draws of y for each image; more images say more than more draws.

    Returns:
        (channels,) by activation; 0 where the outputs do not depend on it.
    """
    import tensorflow as tf

    if not names:
        return {}
    heads = output_heads(graph)

    def costs(draw: tuple[int, int], values: Mapping[str, AnyArray]) -> dict[str, NDArray[np.float64]]:
        noise: dict[str, tf.Tensor] = {}

        def on_tensor(name: str, value: tf.Tensor) -> tf.Tensor:
            if name not in names:
                return value
            noise[name] = tf.zeros_like(value)
            tape.watch(noise[name])
            return value + noise[name]

        # Op by op: a few batches take less than the making of a TensorFlow function.
        with tf.GradientTape() as tape:
            env = execute(graph, {name: tf.constant(value) for name, value in values.items()}, on_tensor=on_tensor)
            likelihood = tf.add_n(
                [
                    _drawn_likelihood(env[name], classes=classes, draw=tf.constant((draw[0], draw[1] + place)))
                    for place, (name, classes) in enumerate(heads)
                ]
            )
        gradients = tape.gradient(likelihood, noise, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return {
            name: tf.reduce_sum(tf.square(value), list(range(len(value.shape) - 1))).numpy().astype(np.float64)
            for name, value in gradients.items()
        }

    images = images[:_SENSITIVITY_IMAGES]
    total = {name: np.zeros(1) for name in names}
    for number, start in product(range(draws), range(0, len(images), _SENSITIVITY_BATCH)):
        part = batch_of(graph.inputs, images[start : start + _SENSITIVITY_BATCH]).arrays
        found = costs((seed + number, start), part)
        total = {name: total[name] + found[name] for name in names}
    return {name: value / (2 * draws * len(images)) for name, value in total.items()}


def _drawn_likelihood(head: tf.Tensor, *, classes: bool, draw: tf.Tensor) -> tf.Tensor:
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
