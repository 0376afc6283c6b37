"""The integer arithmetic against LiteRT's own kernels, and against exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnedge.formats.tflite_write import write_tflite
from mnedge.graph import arithmetic
from mnedge.graph.graph import Graph, Op, Quantization, Tensor

ALL_STEPS = np.arange(-128, 128, dtype=np.int8)


def unary(kind: str, x: Quantization, y: Quantization) -> np.ndarray:
    """What LiteRT's reference kernel makes of all 256 steps."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    tensors = {"x": Tensor("x", (1, 256), "int8", x), "y": Tensor("y", (1, 256), "int8", y)}
    model = write_tflite(Graph(tensors, (Op(kind, ("x",), ("y",), {}),), ("x",), ("y",)))
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], ALL_STEPS[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


def quantization(rng: np.random.Generator, low: float, high: float) -> Quantization:
    return Quantization.per_tensor(float(np.float32(rng.uniform(low, high))), int(rng.integers(-128, 128)))


@pytest.mark.parametrize("seed", range(25))
def test_hard_swish(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = quantization(rng, 0.004, 0.09)
    y = Quantization.per_tensor(float(x.scale[0] * np.float32(rng.uniform(0.3, 2.0))), int(rng.integers(-128, 128)))
    ours = arithmetic.hard_swish(ALL_STEPS, x.scale[0], int(x.zero_point[0]), y.scale[0], int(y.zero_point[0]))
    assert np.array_equal(ours, unary("HARD_SWISH", x, y))


@pytest.mark.parametrize("seed", range(25))
def test_logistic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = quantization(rng, 0.001, 0.3)
    ours = arithmetic.logistic(ALL_STEPS, x.scale[0], int(x.zero_point[0]))
    assert np.array_equal(ours, unary("LOGISTIC", x, Quantization.per_tensor(1 / 256, -128)))


@pytest.mark.parametrize("seed", range(50))
def test_exponential(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = quantization(rng, 0.0005, 0.07)
    # Up to what e^x reaches, and down to where all of it is cut.
    largest = float(np.exp(x.scale[0] * (127 - int(x.zero_point[0]))))
    y = Quantization.per_tensor(float(np.float32(largest / rng.uniform(20, 900))), int(rng.integers(-128, 128)))
    ours = arithmetic.exponential(ALL_STEPS, x.scale[0], int(x.zero_point[0]), y.scale[0], int(y.zero_point[0]))
    assert np.array_equal(ours, unary("EXP", x, y))


def test_an_exponential_beyond_all_floats_is_cut() -> None:
    steps = arithmetic.exponential(ALL_STEPS, 1.5, -128, 0.01, -128)
    assert steps[:2].tolist() == [-28, 127]
    assert (steps[1:] == 127).all()


@pytest.mark.parametrize("seed", range(25))
def test_requantize(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = quantization(rng, 0.004, 0.09), quantization(rng, 0.004, 0.09)
    ours = arithmetic.requantize(ALL_STEPS, x.scale[0], int(x.zero_point[0]), y.scale[0], int(y.zero_point[0]))
    assert np.array_equal(arithmetic.clamp(ours), unary("QUANTIZE", x, y))


@given(st.floats(2.0**-30, 2.0**10))
def test_a_multiplier_is_normalized_and_near(real: float) -> None:
    multiplier, shift = arithmetic.quantize_multiplier(real)
    assert 1 << 30 <= multiplier < 1 << 31
    assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) / Fraction(real) - 1) <= Fraction(1, 1 << 30)


def test_multipliers_at_the_ends() -> None:
    assert arithmetic.quantize_multiplier(0.0) == (0, 0)
    assert arithmetic.quantize_multiplier(2.0**-40) == (0, 0)
    assert arithmetic.quantize_multiplier(1.0 - 2.0**-40) == (1 << 30, 1)


@given(st.integers(-(1 << 31) + 1, (1 << 31) - 1), st.integers(0, 31))
def test_a_rounding_shift_is_half_away_from_zero(x: int, exponent: int) -> None:
    exact = Fraction(x, 1 << exponent)
    away = int(abs(exact) + Fraction(1, 2)) * (1 if x >= 0 else -1)
    assert int(arithmetic.rounding_shift_right(x, exponent)) == away


@given(st.integers(-(1 << 24), 1 << 24), st.integers(1 << 30, (1 << 31) - 1), st.integers(-20, 0))
def test_one_rounding_is_half_away_from_zero(x: int, multiplier: int, shift: int) -> None:
    exact = Fraction(x * multiplier, 1 << (31 - shift))
    away = int(abs(exact) + Fraction(1, 2)) * (1 if x >= 0 else -1)
    assert int(arithmetic.multiply_once(x, multiplier, shift)) == away


def test_softmax_exponentials_fall_from_one_and_end_in_zero() -> None:
    values = arithmetic.softmax_exponentials(1.0, 0.2)
    assert values[0] == (1 << 31) - 1
    assert np.all(np.diff(values) <= 0)
    assert np.allclose(values / 2.0**31, np.exp(-0.2 * np.arange(256)), atol=1e-6)
