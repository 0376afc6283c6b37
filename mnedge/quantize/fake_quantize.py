"""Rounding that a gradient goes through."""

from __future__ import annotations

from typing import Any, TypeAlias

# TensorFlow is not imported for its types.
TensorLike: TypeAlias = Any


def fake_quantize(value: TensorLike, low: TensorLike, high: TensorLike) -> TensorLike:
    """Rounds to the 256 steps of [low, high], with gradients for the value and both ends of the range.

    The gradient passes straight through inside the range (Bengio et al. 2013, arXiv:1308.3432). The ends get
    the gradient of the learned step size, q - x/s inside and the clipped end outside: Esser et al. 2020, eq. 3,
    arXiv:1902.08153, with the offset of Bhalgat et al. 2020 (LSQ+), arXiv:2004.09576.

    Args:
        value: float32 of any shape.
        low: Scalar, at most 0.
        high: Scalar, at least 0.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def rounded(x: TensorLike, a: TensorLike, b: TensorLike) -> Any:  # noqa: ANN401
        y = to_steps(x, a, b)

        def gradient(upstream: TensorLike) -> Any:  # noqa: ANN401
            dx, da, db = tf.quantization.fake_quant_with_min_max_vars_gradient(upstream, x, a, b)
            error = tf.tensordot(tf.reshape(dx, [-1]), tf.reshape(y - x, [-1]), 1) / (b - a)
            return dx, da - error, db + error

        return y, gradient

    return rounded(value, low, high)


def to_steps(value: TensorLike, low: TensorLike, high: TensorLike) -> TensorLike:
    """Rounds to the 256 steps of [low, high] as the int8 model does: ties to even, 0 a step.

    TensorFlow's own fake quantization rounds ties up. Where activations are sums and products of steps, as around
    hard-swish, ties are no accident, and a whole channel would be a step off in the model that ships.
    """
    import tensorflow as tf

    low, high = (tf.cast(end, tf.float64) for end in (low, high))
    scale = (high - low) / 255
    zero = tf.cast(tf.round(-low / scale), tf.float32)
    step = tf.cast(scale, tf.float32)
    return tf.clip_by_value(tf.round(value / step), -zero, 255 - zero) * step


def fake_quantize_weights(weights: TensorLike, scale: TensorLike) -> TensorLike:
    """Rounds to the symmetric steps -127..127 of a learned scale.

    Esser et al. 2020, eq. 1 to 3, arXiv:1902.08153: d/ds is q - w/s inside the range and the end outside.

    Args:
        weights: float32.
        scale: Broadcasts against `weights`, above 0.
    """
    import tensorflow as tf

    ratio = weights / scale
    inside = tf.clip_by_value(ratio, -127.0, 127.0)
    return (inside + tf.stop_gradient(tf.round(inside) - inside)) * scale
