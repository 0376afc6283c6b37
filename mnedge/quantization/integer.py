"""The arithmetic of LiteRT's int8 kernels in float32: the same steps, with gradients.

An activation is its steps from the zero point, whole numbers in float32. Sums of products of steps are exact up to
2^24, so they do not depend on the order of the sum, and what is rounded is the same float32 product as in the
kernels. A network that differed from the one that ships in a few ties alone would soon differ everywhere: one step
more here tips the rounding of thousands of values behind it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnedge.graph.arithmetic import PIXEL_NUDGE

if TYPE_CHECKING:
    from tensorflow.types.experimental import TensorLike

    from mnedge.graph.graph import Quantization


# XNNPACK's ADD multiplies by whole numbers of that many bits.
_ADD_BITS = 20
# XNNPACK's LEAKY_RELU multiplies by whole numbers of this part.
_LEAKY_UNIT = 256.0


class Grid(NamedTuple):
    """The int8 steps of an activation.

    Attributes:
        scale: float32 scalar, real value of a step.
        low: float32 scalar, the least step seen from the zero point: -128 - zero_point.
        high: float32 scalar, the largest: 127 - zero_point.
    """

    scale: TensorLike
    low: TensorLike
    high: TensorLike


def fixed_grid(quantization: Quantization) -> Grid:
    """The grid of a per-tensor quantization."""
    zero_point = float(quantization.zero_point[0])
    return Grid(np.float32(quantization.scale[0]), np.float32(-128 - zero_point), np.float32(127 - zero_point))


def learned_grid(low: TensorLike, high: TensorLike) -> Grid:
    """The grid that `range_quantization` gives a range, with gradients for both ends.

    Esser et al. 2020, eq. 3, arXiv:1902.08153, with the offset of Bhalgat et al. 2020 (LSQ+), arXiv:2004.09576: what
    leaves the range has the gradient of the end where it left.

    Args:
        low: float32 scalar, at most 0.
        high: float32 scalar, at least 0 and above `low`.
    """
    import tensorflow as tf

    low, high = tf.cast(low, tf.float64), tf.cast(high, tf.float64)
    scale = (high - low) / 255
    zero_point = tf.clip_by_value(rounded(-128 - low / scale), -128.0, 127.0)
    return Grid(*(tf.cast(value, tf.float32) for value in (scale, -128 - zero_point, 127 - zero_point)))


def clipped(grid: Grid, interval: tuple[float, float]) -> Grid:
    """A grid that ends where a fused activation does, an interval of real values."""
    import tensorflow as tf

    low, high = interval
    return grid._replace(
        low=tf.maximum(grid.low, rounded(low / grid.scale)) if math.isfinite(low) else grid.low,
        high=tf.minimum(grid.high, rounded(high / grid.scale)) if math.isfinite(high) else grid.high,
    )


def rounded(value: TensorLike) -> TensorLike:
    """Rounds, ties to even; the gradient passes straight through. Bengio et al. 2013, arXiv:1308.3432."""
    import tensorflow as tf

    return value + tf.stop_gradient(tf.round(value) - value)


def weight_steps(weights: TensorLike, scale: TensorLike) -> TensorLike:
    """Rounds weights to steps -127..127, with gradients for both: Esser et al. 2020, eq. 1 to 3, arXiv:1902.08153.

    Args:
        weights: float32.
        scale: Broadcasts against `weights`, above 0.
    """
    import tensorflow as tf

    return rounded(tf.clip_by_value(weights / scale, -127.0, 127.0))


def bias_steps(biases: TensorLike, scale: TensorLike) -> TensorLike:
    """Rounds biases to whole steps in float64, as the int8 model does; a float32 quotient has too few digits."""
    import tensorflow as tf

    return tf.cast(rounded(tf.cast(biases, tf.float64) / tf.cast(scale, tf.float64)), tf.float32)


def pixel_steps(images: TensorLike, made: Grid) -> TensorLike:
    """Steps of pixels, ties upward; see `PIXEL_NUDGE`."""
    import tensorflow as tf

    return tf.clip_by_value(tf.floor(images / made.scale + (0.5 + PIXEL_NUDGE)), made.low, made.high)


def requantize(sums: TensorLike, factor: TensorLike, made: Grid) -> TensorLike:
    """Brings sums of products of steps to the steps of the output: Jacob et al. 2018, eq. 4, arXiv:1712.05877.

    Args:
        sums: float32 whole numbers.
        factor: float32, what a unit of the sum is worth in steps of the output; a scalar or one a channel.
        made: Grid of the output.
    """
    import tensorflow as tf

    return rounded(tf.clip_by_value(sums * factor, made.low, made.high))


def mean(sums: TensorLike, count: int, read: Grid, made: Grid) -> TensorLike:
    """Steps of a mean, in the float32 of XNNPACK, which takes the zero points out last.

    Args:
        sums: float32 whole numbers, sums of steps.
        count: Values in a sum.
        read: Grid of the values.
        made: Grid of the output.
    """
    import tensorflow as tf

    factor = read.scale / made.scale / count
    zeros, made_zero = (-128 - read.low) * count, -128 - made.low
    shifted = (sums + zeros) * factor + (made_zero - zeros * factor)
    return tf.clip_by_value(rounded(shifted) - made_zero, made.low, made.high)


def multiply(one: TensorLike, other: TensorLike, grids: tuple[Grid, Grid], made: Grid) -> TensorLike:
    """Steps of a product."""
    return requantize(one * other, grids[0].scale * grids[1].scale / made.scale, made)


def add(one: TensorLike, other: TensorLike, grids: tuple[Grid, Grid], made: Grid) -> TensorLike:
    """Steps of a sum, in the fixed point of XNNPACK: ties upward.

    Args:
        one: Steps, of the first grid.
        other: Steps, of the second.
        grids: Grids of both inputs.
        made: Grid of the output.
    """
    import tensorflow as tf

    ratios = [grids[0].scale / made.scale, grids[1].scale / made.scale]
    real = one * ratios[0] + other * ratios[1]
    # The larger ratio gets 21 bits: its exponent says how far everything is shifted.
    largest = tf.maximum(*ratios)
    shift = _ADD_BITS + 127 - tf.bitwise.right_shift(tf.bitcast(largest, tf.int32), 23)
    power = tf.bitcast(tf.bitwise.left_shift(shift + 127, 23), tf.float32)
    factors = [tf.cast(tf.round(ratio * power), tf.int32) for ratio in ratios]
    sums = tf.cast(one, tf.int32) * factors[0] + tf.cast(other, tf.int32) * factors[1]
    half = tf.bitwise.left_shift(1, shift - 1)
    exact = tf.cast(tf.bitwise.right_shift(sums + half, shift), tf.float32)
    return tf.clip_by_value(real + tf.stop_gradient(exact - real), made.low, made.high)


def subtract(one: TensorLike, other: TensorLike, grids: tuple[Grid, Grid], made: Grid) -> TensorLike:
    """Steps of a difference; see `add`."""
    return add(one, -other, grids, made)


def leaky_relu(value: TensorLike, alpha: float, read: Grid, made: Grid) -> TensorLike:
    """Steps of a leaky ReLU, in the fixed point of XNNPACK: both slopes have eight bits behind the point, ties upward.

    Args:
        value: Steps.
        alpha: Slope below zero.
        read: Grid of the values.
        made: Grid of the output.
    """
    import tensorflow as tf

    ratio = read.scale / made.scale
    is_above = value >= 0
    real = tf.where(is_above, value * ratio, value * (ratio * np.float32(alpha)))
    above, below = (tf.round(slope * _LEAKY_UNIT) / _LEAKY_UNIT for slope in (ratio, ratio * np.float32(alpha)))
    exact = tf.floor(tf.where(is_above, value * above, value * below) + 0.5)
    return tf.clip_by_value(real + tf.stop_gradient(exact - real), made.low, made.high)


# Ops of two activations.
PAIRS = {"ADD": add, "MUL": multiply, "SUB": subtract}
