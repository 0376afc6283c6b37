"""Fake quantization: the values of the int8 grid, and the gradients of the papers."""

from __future__ import annotations

import numpy as np
import pytest

from mnedge.quantize.fake_quantize import fake_quantize, fake_quantize_weights
from mnedge.quantize.scheme import range_quantization


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.0, 6.0), (-3.0, 0.0)])
def test_the_forward_pass_is_the_int8_grid(low: float, high: float) -> None:
    quantization = range_quantization(low, high)
    anywhere = np.random.default_rng(0).uniform(low - 1, high + 1, 300)
    # Halfway between two steps: TensorFlow's own op rounds these up, int8 kernels round them to even.
    ties = (np.arange(-260, 260) + 0.5) * float(quantization.scale[0])
    values = np.concatenate([anywhere, ties]).astype(np.float32)
    scale, zero_point = float(quantization.scale[0]), int(quantization.zero_point[0])
    # Ends on the grid, as activation_quantizations makes them.
    ends = (-128 - zero_point) * scale, (127 - zero_point) * scale
    made = fake_quantize(values, np.float32(ends[0]), np.float32(ends[1])).numpy()
    # In float32, as kernels and `simulate` compute: there the ties are ties.
    steps = np.clip(np.round(values / quantization.scale) + zero_point, -128, 127)
    expected = quantization.dequantize(steps.astype(np.int8))
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_gradients_are_those_of_learned_step_size() -> None:
    """Esser et al. 2020, eq. 3: d/ds is q - x/s inside the range, and the clipped end outside."""
    import tensorflow as tf

    low, high = tf.constant(-1.28), tf.constant(1.27)  # zero on a step, s = 0.01
    values = tf.constant([-5.0, -0.503, 0.0, 0.104, 3.0])
    with tf.GradientTape() as tape:
        tape.watch([values, low, high])
        total = tf.reduce_sum(fake_quantize(values, low, high))
    over_values, over_low, over_high = tape.gradient(total, [values, low, high])
    assert over_values.numpy().tolist() == [0, 1, 1, 1, 0]
    # q - x/s of -0.503 and 0.104, in steps; the step is (high - low) / 255.
    inside = (-50 + 50.3) + (10 - 10.4)
    np.testing.assert_allclose(over_high.numpy(), 1 + inside / 255, atol=2e-3)
    np.testing.assert_allclose(over_low.numpy(), 1 - inside / 255, atol=2e-3)


def test_weights_round_to_symmetric_steps() -> None:
    import tensorflow as tf

    scale = tf.Variable(0.1)
    weights = tf.Variable([-20.0, -0.26, 0.04, 0.31, 20.0])
    with tf.GradientTape() as tape:
        made = fake_quantize_weights(weights, scale)
        total = tf.reduce_sum(made)
    np.testing.assert_allclose(made.numpy(), [-12.7, -0.3, 0.0, 0.3, 12.7], rtol=1e-5)
    over_weights, over_scale = tape.gradient(total, [weights, scale])
    assert over_weights.numpy().tolist() == [0, 1, 1, 1, 0]
    expected = -127 + (-3 + 2.6) + (0 - 0.4) + (3 - 3.1) + 127
    np.testing.assert_allclose(over_scale.numpy(), expected, atol=1e-4)
