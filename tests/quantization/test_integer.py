"""Steps with gradients: LiteRT's values, and the gradients of the papers."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.quantization import integer
from mnedge.quantization.scheme import range_quantization
from mnedge.runtimes.litert import LiteRtSession

RANGES = [(-1.0, 2.0), (0.0, 6.0), (-3.0, 0.0), (-7.3, 0.11)]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_a_learned_grid_is_that_of_the_int8_model(low: float, high: float) -> None:
    learned = integer.learned_grid(np.float32(low), np.float32(high))
    fixed = integer.fixed_grid(range_quantization(float(np.float32(low)), float(np.float32(high))))
    assert [float(value) for value in learned] == [float(value) for value in fixed]


def test_the_learned_range_has_the_gradient_of_the_paper() -> None:
    """Esser et al. 2020, eq. 3: d/ds is q - x/s inside the range, and the clipped end outside."""
    import tensorflow as tf

    value = tf.constant([-2.0, -0.31, 0.2, 0.77, 5.0])
    low, high = tf.Variable(-1.0), tf.Variable(1.55)
    with tf.GradientTape() as tape:
        tape.watch(value)
        grid = integer.learned_grid(low, high)
        made = integer.requantize(value, 1 / grid.scale, grid) * grid.scale
        total = tf.reduce_sum(made * tf.constant([1.0, 2.0, 3.0, 4.0, 5.0]))
    to_value, to_low, to_high = (item.numpy() for item in tape.gradient(total, [value, low, high]))
    np.testing.assert_allclose(to_value, [0.0, 2.0, 3.0, 4.0, 0.0], atol=1e-6)
    inside = float(np.dot([2.0, 3.0, 4.0], (made - value).numpy()[1:4])) / 2.55
    assert to_low == pytest.approx(1.0 - inside, abs=1e-4)
    assert to_high == pytest.approx(5.0 + inside, abs=1e-4)


def test_the_learned_step_has_the_gradient_of_the_paper() -> None:
    import tensorflow as tf

    weights, scale = tf.Variable([0.031, -0.5, 30.0]), tf.Variable(0.1)
    with tf.GradientTape() as tape:
        steps = integer.weight_steps(weights, scale)
        total = tf.reduce_sum(steps * scale)
    np.testing.assert_array_equal(steps.numpy(), [0.0, -5.0, 127.0])
    to_weights, to_scale = (item.numpy() for item in tape.gradient(total, [weights, scale]))
    np.testing.assert_allclose(to_weights, [1.0, 1.0, 0.0], atol=1e-6)
    # round(w/s) - w/s inside: 0 - 0.31 and -5 + 5; 127 outside.
    assert to_scale == pytest.approx(-0.31 + 0.0 + 127.0, abs=1e-3)


def test_biases_are_rounded_as_in_the_int8_model() -> None:
    scales = np.random.default_rng(0).uniform(1e-5, 1e-4, 4000).astype(np.float32)
    # Next to a tie, tens of thousands of steps out: a float32 quotient cannot tell the sides.
    biases = ((np.arange(4000) + 30_000.5) * scales.astype(np.float64)).astype(np.float32)
    expected = Quantization.per_channel(scales, 0).quantize(biases, "int32")
    assert np.array_equal(integer.bias_steps(biases, scales).numpy().astype(int), expected)


@pytest.mark.parametrize(("kind", "activation"), [*product(integer.PAIRS, ("NONE", "RELU6")), ("MEAN", "NONE")])
def test_ops_make_the_steps_of_litert(kind: str, activation: str) -> None:
    rng = np.random.default_rng(5)
    differing = total = 0
    for _ in range(20):
        shape = (1, 5, 7, 64)
        scales, zero_points = rng.uniform(0.02, 0.1, 2), rng.integers(-128, 128, 3)
        unit = scales[0] * scales[1] * 60 if kind == "MUL" else scales.max()
        out = float(unit * rng.uniform(0.4, 2.0))
        given = [
            Quantization.per_tensor(float(scale), int(zero)) for scale, zero in zip(scales, zero_points, strict=False)
        ]
        made = Quantization.per_tensor(out, int(zero_points[2]))
        steps = [rng.integers(-128, 128, shape).astype(np.int8) for _ in range(2)]
        grids = [integer.fixed_grid(item) for item in given]
        real = [value.astype(np.float32) - float(item.zero_point[0]) for value, item in zip(steps, given, strict=True)]
        grid = integer.clipped(integer.fixed_grid(made), (0.0, 6.0) if activation == "RELU6" else (-np.inf, np.inf))
        if kind == "MEAN":
            mine = integer.mean(real[0].sum((1, 2), keepdims=True), 35, grids[0], grid)
        else:
            mine = integer.PAIRS[kind](real[0], real[1], (grids[0], grids[1]), grid)
        expected = litert(kind, activation, given, made, steps)
        off = np.abs(np.asarray(mine) + float(made.zero_point[0]) - expected)
        assert off.max() <= 1
        differing, total = differing + int(off.sum()), total + off.size
    # A kernel may contract the multiplication and the sum of a MEAN; the others compute in whole numbers or round once.
    assert differing <= (total // 1000 if kind == "MEAN" else 0)


def litert(kind: str, activation: str, given: list[Quantization], made: Quantization, steps: list[Any]) -> Any:
    shape = steps[0].shape
    inputs = [Tensor(name, shape, "int8", item) for name, item in zip("ab", given, strict=True)]
    if kind == "MEAN":
        output = Tensor("y", (1, 1, 1, shape[-1]), "int8", made)
        tensors = [inputs[0], output, constant("axes", np.array([1, 2], np.int32))]
        op = Op(kind, ("a", "axes"), ("y",), {"keep_dims": True})
        inputs, steps = inputs[:1], steps[:1]
    else:
        tensors = [*inputs, Tensor("y", shape, "int8", made)]
        op = Op(kind, ("a", "b"), ("y",), {"activation": activation})
    graph = Graph({tensor.name: tensor for tensor in tensors}, (op,), tuple(item.name for item in inputs), ("y",))
    return LiteRtSession(write_tflite(graph), 1).look(*steps)[0].astype(int)


@pytest.mark.parametrize(("scales", "zeros", "alpha"), [
    ((0.05, 0.05), (-20, -100), 0.3), ((0.031, 0.027), (3, -41), 0.2), ((0.02, 0.045), (-128, -128), 0.1),
])  # fmt: skip
def test_a_leaky_relu_is_litert_s_step_by_step(
    scales: tuple[float, float], zeros: tuple[int, int], alpha: float
) -> None:
    read, made = (Quantization.per_tensor(*pair) for pair in zip(scales, zeros, strict=True))
    tensors = {"x": Tensor("x", (1, 256), "int8", read), "y": Tensor("y", (1, 256), "int8", made)}
    graph = Graph(tensors, (Op("LEAKY_RELU", ("x",), ("y",), {"alpha": alpha}),), ("x",), ("y",))
    steps = np.arange(-128, 128, dtype=np.int8)[None]
    (wanted,) = LiteRtSession(write_tflite(graph), 1).run(steps)
    found = integer.leaky_relu(
        steps.astype(np.float32) - np.float32(zeros[0]), alpha, integer.fixed_grid(read), integer.fixed_grid(made)
    )
    np.testing.assert_array_equal(np.asarray(found) + zeros[1], wanted.astype(np.float32))
