"""The integer arithmetic put together to whole ops, bit for bit against LiteRT's reference kernels.

Each op is written down once more here, in NumPy on int64, from the functions of `arithmetic` alone; shapes, scales
and zero points are random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mnedge.errors import UnsupportedError
from mnedge.graph import arithmetic
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
QUANTIZATIONS = st.builds(
    Quantization.per_tensor, st.floats(-9.0, -2.0).map(lambda power: float(np.float32(2.0**power))),
    st.one_of(st.integers(-128, 127), st.sampled_from([-128, -1, 0, 127])),
)  # fmt: skip


def fuzzed(request: pytest.FixtureRequest, check: Callable[..., None], *strategies: Any) -> None:
    configured = settings(
        max_examples=max(request.config.getoption("--fuzz") // 5, 10), deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    configured(given(*strategies)(check))()


def graph_of(kind: str, tensors: list[Tensor], **options: Any) -> Graph:
    """One op that makes the last tensor from the others."""
    names = tuple(tensor.name for tensor in tensors)
    fed = tuple(tensor.name for tensor in tensors[:-1] if tensor.data is None)
    return Graph({tensor.name: tensor for tensor in tensors}, (Op(kind, names[:-1], names[-1:], options),), fed,
                 names[-1:])  # fmt: skip


def scale_of(quantization: Quantization) -> float:
    return float(quantization.scale[0])


def centred(steps: np.ndarray, quantization: Quantization) -> np.ndarray:
    return steps.astype(np.int64) - int(quantization.zero_point[0])


def ended(result: np.ndarray, y: Quantization, activation: str = "NONE") -> np.ndarray:
    low, high = arithmetic.activation_range(activation, scale_of(y), int(y.zero_point[0]))
    return arithmetic.clamp(result + int(y.zero_point[0]), low, high)


def steps(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
def test_elementwise(kind: str, judge: Any, request: pytest.FixtureRequest) -> None:
    def check(seed: int, a: Quantization, b: Quantization, y: Quantization, activation: str) -> None:
        first, second = steps(seed, 1, 60), steps(seed + 1, 1, 60)
        tensors = [Tensor(name, (1, 60), "int8", q) for name, q in (("a", a), ("b", b), ("y", y))]
        expected = judge(graph_of(kind, tensors, activation=activation), {"a": first, "b": second})
        if kind == "MUL":
            multiplier = arithmetic.multiply_multiplier(scale_of(a), scale_of(b), scale_of(y))
            result = arithmetic.multiply(centred(first, a) * centred(second, b), *multiplier)
        else:
            of_a, of_b, of_sum = arithmetic.add_multipliers(scale_of(a), scale_of(b), scale_of(y))
            one = arithmetic.multiply(centred(first, a) << 20, *of_a)
            two = arithmetic.multiply(centred(second, b) << 20, *of_b)
            result = arithmetic.multiply(one + two if kind == "ADD" else one - two, *of_sum)
        assert np.array_equal(ended(result, y, activation), expected)

    fuzzed(request, check, st.integers(0, 2**31), *[QUANTIZATIONS] * 3, st.sampled_from(ACTIVATIONS))


@pytest.mark.parametrize(
    ("kind", "granularity"),
    [
        ("CONV_2D", "per-channel"),
        ("CONV_2D", "per-tensor"),
        ("DEPTHWISE_CONV_2D", "per-channel"),
        ("DEPTHWISE_CONV_2D", "per-tensor"),
        ("FULLY_CONNECTED", "per-tensor"),
    ],
)
def test_a_layer_on_one_pixel(kind: str, granularity: str, judge: Any, request: pytest.FixtureRequest) -> None:
    def check(seed: int, depth: int, made: int, x: Quantization, y: Quantization, activation: str) -> None:
        rng = np.random.default_rng(seed)
        made = depth if kind == "DEPTHWISE_CONV_2D" else made
        shape = (1, 1, 1, depth) if kind == "DEPTHWISE_CONV_2D" else (made, 1, 1, depth)
        axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        count = made if granularity == "per-channel" else 1
        # Sums that reach to about the ends of the output's range.
        fitting = scale_of(y) / scale_of(x) / (60 * np.sqrt(depth))
        scales = (fitting * rng.uniform(0.2, 3.0, count)).astype(np.float32)
        bias = rng.integers(-3000, 3000, made).astype(np.int32)
        of_weights = Quantization(scales, np.zeros(count, np.int64), axis if count > 1 else None)
        bias_scales = (scales * x.scale[0]).astype(np.float32)
        of_bias = Quantization(bias_scales, np.zeros(count, np.int64), 0 if count > 1 else None)
        flat = kind == "FULLY_CONNECTED"
        tensors = [
            Tensor("x", (1, depth) if flat else (1, 1, 1, depth), "int8", x),
            constant("w", weights.reshape(made, depth) if flat else weights, of_weights),
            constant("b", bias, of_bias),
            Tensor("y", (1, made) if flat else (1, 1, 1, made), "int8", y),
        ]
        options = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
        options = {"activation": activation} | ({} if flat else options)
        options |= {"depth_multiplier": 1} if kind == "DEPTHWISE_CONV_2D" else {}
        data = steps(seed, 4, *tensors[0].shape[1:])
        expected = judge(graph_of(kind, tensors, **options), {"x": data}).reshape(4, made)
        rows = centred(data.reshape(4, depth), x)
        sums = rows * weights.reshape(depth) if axis == 3 else rows @ weights.reshape(made, depth).T.astype(np.int64)
        # The runtime multiplies and divides the scales in double precision.
        real = x.scale[0].astype(np.float64) * scales.astype(np.float64) / y.scale[0].astype(np.float64)
        multipliers, shifts = arithmetic.quantize_multipliers(np.broadcast_to(real, (made,)))
        requantized = arithmetic.multiply_once if flat else arithmetic.multiply
        assert np.array_equal(ended(requantized(sums + bias, multipliers, shifts), y, activation), expected)

    fuzzed(request, check, st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 9), *[QUANTIZATIONS] * 2,
           st.sampled_from(ACTIVATIONS))  # fmt: skip


def test_mean(judge: Any, request: pytest.FixtureRequest) -> None:
    def check(seed: int, rows: int, columns: int, x: Quantization, y: Quantization) -> None:
        axes = constant("axes", np.array([1, 2], np.int32))
        tensors = [Tensor("x", (1, rows, columns, 3), "int8", x), axes, Tensor("y", (1, 1, 1, 3), "int8", y)]
        data = steps(seed, 2, rows, columns, 3)
        expected = judge(graph_of("MEAN", tensors, keep_dims=True), {"x": data})
        multiplier = arithmetic.mean_multiplier(scale_of(x), scale_of(y), rows * columns)
        sums = centred(data, x).sum((1, 2), keepdims=True)
        assert np.array_equal(ended(arithmetic.multiply(sums, *multiplier), y), expected)

    fuzzed(request, check, st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12), *[QUANTIZATIONS] * 2)


def reciprocal_of_one_plus(a: np.ndarray) -> np.ndarray:
    """1 / (1 + a) in Q0.31 for a in [0, 1], three Newton-Raphson steps: gemmlowp's one_over_one_plus_x."""
    half = (a + (1 << 31)) >> 1
    x = 1515870810 + arithmetic.doubling_high_multiply(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - arithmetic.doubling_high_multiply(half, x)
        x = x + (arithmetic.doubling_high_multiply(x, error) << 2)
    return np.clip(x << 1, -(1 << 31), (1 << 31) - 1)


def test_softmax(judge: Any, request: pytest.FixtureRequest) -> None:
    def check(seed: int, length: int, beta: float, x: Quantization) -> None:
        tensors = [Tensor("x", (1, length), "int8", x),
                   Tensor("y", (1, length), "int8", Quantization.per_tensor(1 / 256, -128))]  # fmt: skip
        data = steps(seed, 3, length)
        expected = judge(graph_of("SOFTMAX", tensors, beta=beta), {"x": data})
        table = arithmetic.softmax_exponentials(beta, scale_of(x))
        exponentials = table[data.max(1, keepdims=True).astype(np.int64) - data]
        sums = arithmetic.rounding_shift_right(exponentials, 12).sum(1, keepdims=True)
        headroom = 32 - np.vectorize(lambda value: int(value).bit_length())(sums)
        share = reciprocal_of_one_plus((sums << headroom) - (1 << 31))
        product = arithmetic.doubling_high_multiply(share, exponentials)
        shift = 12 - headroom + 31 - 8
        made = np.where(shift > 31, 0, arithmetic.rounding_shift_right(product, np.minimum(shift, 31)))
        assert np.array_equal(arithmetic.clamp(made - 128), expected)

    fuzzed(request, check, st.integers(0, 2**31), st.integers(1, 50), st.sampled_from([1.0, 0.5, 2.0]), QUANTIZATIONS)


@pytest.mark.parametrize("kind", ["RELU", "RELU6"])
def test_activations_are_a_requantization_and_a_clamp(kind: str, judge: Any, request: pytest.FixtureRequest) -> None:
    def check(x: Quantization, y: Quantization) -> None:
        every = np.arange(-128, 128, dtype=np.int8)[None]
        tensors = [Tensor("x", (1, 256), "int8", x), Tensor("y", (1, 256), "int8", y)]
        expected = judge(graph_of(kind, tensors), {"x": every})
        zero_points = int(x.zero_point[0]), int(y.zero_point[0])
        result = arithmetic.requantize(every, scale_of(x), zero_points[0], scale_of(y), zero_points[1])
        low, high = arithmetic.activation_range(kind, scale_of(y), zero_points[1])
        assert np.array_equal(arithmetic.clamp(result, low, high), expected)

    fuzzed(request, check, QUANTIZATIONS, QUANTIZATIONS)


def test_an_activation_without_integer_kernel_says_so() -> None:
    with pytest.raises(UnsupportedError, match="TANH has no integer kernel"):
        arithmetic.activation_range("TANH", 0.1, 0)


def test_a_hard_swish_that_overflows_says_so() -> None:
    with pytest.raises(UnsupportedError, match="overflows TFLite's 16-bit kernel"):
        arithmetic.hard_swish(np.zeros(1), 1.0, 0, 1e-3, 0)
