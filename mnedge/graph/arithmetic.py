"""TFLite's integer arithmetic in NumPy, bit for bit: the reference that generated code is derived from.

Fixed-point rounding follows Jacob et al. 2018, sec. 2.2, arXiv:1712.05877, in the double-rounding form that
TFLite's reference kernels use: a saturating rounding doubling high multiply, then a rounding shift.
All functions take and give int64 arrays that hold int32 values unless they say otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

# Share of a step. A pixel p is p / 127.5 - 1, halfway between two steps of 1 / 127.5: this sends it to p - 128.
PIXEL_NUDGE = 1e-3
_INT32_MAX = (1 << 31) - 1
_INT32_MIN = -(1 << 31)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Splits a real factor >= 0 into multiplier * 2^(shift - 31); Jacob et al. 2018, eq. 6.

    Returns:
        The multiplier, 0 or in [2^30, 2^31), and the shift; above 0 it is a shift to the left.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    # C's round(): half away from zero; the factor is never negative.
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = 1 << 30, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return _INT32_MAX, 30
    return multiplier, shift


def quantize_signed_multiplier(real: float) -> tuple[int, int]:
    """`quantize_multiplier` of a factor of either sign: the multiplier has the factor's."""
    multiplier, shift = quantize_multiplier(abs(real))
    return (-multiplier if real < 0 else multiplier), shift


def quantize_multipliers(reals: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`quantize_multiplier` for each channel: multipliers and shifts of shape (channels,)."""
    pairs = [quantize_multiplier(float(real)) for real in reals]
    return np.array([pair[0] for pair in pairs], np.int64), np.array([pair[1] for pair in pairs], np.int64)


def doubling_high_multiply(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """round(a * b / 2^31), ties up, saturated: gemmlowp's SaturatingRoundingDoublingHighMul."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    # Truncation after a sign-dependent nudge is the same as flooring after +2^30.
    rounded: NDArray[np.int64] = np.minimum((product + (1 << 30)) >> 31, _INT32_MAX)
    return rounded


def rounding_shift_right(x: ArrayLike, exponent: ArrayLike) -> NDArray[np.int64]:
    """round(x / 2^exponent), ties away from zero: gemmlowp's RoundingDivideByPOT. Exponents 0 to 31."""
    x, exponent = np.asarray(x, np.int64), np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    shifted: NDArray[np.int64] = (x >> exponent) + ((x & mask) > threshold)
    return shifted


def multiply(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> NDArray[np.int64]:
    """TFLite's MultiplyByQuantizedMultiplier with double rounding."""
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return rounding_shift_right(doubling_high_multiply(np.asarray(x, np.int64) << left, multiplier), right)


def multiply_once(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> NDArray[np.int64]:
    """The product with one rounding, ties away from zero, as LiteRT's FULLY_CONNECTED has it, which rounds in float64.

    TFLite Micro's FULLY_CONNECTED rounds twice, and differs by one step about once in 400 outputs.
    """
    total = 31 - np.asarray(shift, np.int64)
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    rounded: NDArray[np.int64] = (product + (np.int64(1) << (total - 1)) - (product < 0)) >> total
    return rounded


def upper_half(multiplier: NDArray[np.int64]) -> NDArray[np.int64]:
    """The 16 bits of a multiplier by which TFLite's MultiplyByQuantizedMultiplier scales sums of 64 bits."""
    half: NDArray[np.int64] = np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF)
    return half


def activation_range(activation: str, scale: float, zero_point: int, dtype: str = "int8") -> tuple[int, int]:
    """The quantized limits of a fused activation.

    Raises:
        UnsupportedError: An activation outside NONE, RELU, RELU6 and RELU_N1_TO_1.
    """
    limits = np.iinfo(dtype)

    def quantized(real: float) -> int:
        ratio = float(np.float32(real) / np.float32(scale))
        return zero_point + int(math.copysign(math.floor(abs(ratio) + 0.5), ratio))

    low, high = int(limits.min), int(limits.max)
    if activation == "RELU":
        low = max(low, quantized(0.0))
    elif activation == "RELU6":
        low, high = max(low, quantized(0.0)), min(high, quantized(6.0))
    elif activation == "RELU_N1_TO_1":
        low, high = max(low, quantized(-1.0)), min(high, quantized(1.0))
    elif activation != "NONE":
        raise UnsupportedError(
            f"the fused activation {activation} has no integer kernel; NONE, RELU, RELU6 and RELU_N1_TO_1 have"
        )
    return low, high


def clamp(x: ArrayLike, low: int = -128, high: int = 127) -> NDArray[np.int64]:
    """Limits x to [low, high]."""
    return np.clip(np.asarray(x, np.int64), low, high)


def requantize(
    x: ArrayLike, input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> NDArray[np.int64]:
    """QUANTIZE from integers to integers, before the clamp to the output's range."""
    multiplier, shift = quantize_multiplier(float(np.float64(input_scale) / np.float64(output_scale)))
    return multiply(np.asarray(x, np.int64) - input_zero_point, multiplier, shift) + output_zero_point


def add_multipliers(scale_1: float, scale_2: float, output_scale: float, left: int = 20) -> tuple[tuple[int, int], ...]:
    """The three (multiplier, shift) of an ADD or SUB, whose inputs are first shifted left by 20, int16 by 15."""
    twice_max = 2 * float(max(np.float32(scale_1), np.float32(scale_2)))
    return (
        quantize_multiplier(float(np.float32(scale_1)) / twice_max),
        quantize_multiplier(float(np.float32(scale_2)) / twice_max),
        quantize_multiplier(twice_max / ((1 << left) * float(np.float32(output_scale)))),
    )


def multiply_multiplier(scale_1: float, scale_2: float, output_scale: float) -> tuple[int, int]:
    """The (multiplier, shift) of an int8 MUL; the runtime divides in float32."""
    product = np.float32(scale_1) * np.float32(scale_2)
    return quantize_multiplier(float(product / np.float32(output_scale)))


def divide_multiplier(scale_1: float, scale_2: float, output_scale: float) -> tuple[int, int]:
    """The (multiplier, shift) of a DIV; the runtime computes it in float32."""
    product = np.float32(scale_2) * np.float32(output_scale)
    return quantize_multiplier(float(np.float32(scale_1) / product))


def reciprocal_of_one_plus(a: ArrayLike) -> NDArray[np.int64]:
    """1 / (1 + a) in Q0.31 for a in [0, 1): three steps of Newton and Raphson, as in gemmlowp."""
    half = (np.asarray(a, np.int64) + _INT32_MAX + 1) >> 1
    x = 1515870810 + doubling_high_multiply(half, -1010580540)
    for _ in range(3):
        step = doubling_high_multiply(x, (1 << 29) - doubling_high_multiply(half, x))
        x = x + np.clip(step * 4, _INT32_MIN, _INT32_MAX)
    return np.clip(x * 2, _INT32_MIN, _INT32_MAX)


def divide(a: ArrayLike, b: ArrayLike, multiplier: int, shift: int) -> NDArray[np.int64]:
    """Quotients of centred steps by the reciprocal of b: DIV of LiteRT in uint8 and of TFLite Micro in int8.

    Both leave what 0 divides, and quotients so small that they shift by more than 31, undefined: they are the limits of
    32 bits here, and 0.
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.int64), np.asarray(b, np.int64))
    a, b = np.where(b < 0, -a, a), np.abs(b)
    # Leading zeros of 1 … 255 and of |a| in 31 bits: exact in float64.
    over_unit = np.floor(np.log2(np.maximum(b, 1))).astype(np.int64)
    inverse = reciprocal_of_one_plus((np.maximum(b, 1) << (31 - over_unit)) - (1 << 31))
    magnitude = np.where(a < 0, -a - 1, a)
    headroom = 30 - np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int64) + (magnitude == 0)
    quotient = doubling_high_multiply(a << headroom, inverse)
    total = over_unit + headroom - shift
    scaled = rounding_shift_right(doubling_high_multiply(quotient, multiplier), np.clip(total, 0, 31))
    return np.where(b == 0, np.sign(a) * _INT32_MAX, np.where(total > 31, 0, scaled))


def mean_multiplier(input_scale: float, output_scale: float, count: int) -> tuple[int, int]:
    """The (multiplier, shift) from a sum of `count` steps to their mean on the output's scale."""
    multiplier, shift = quantize_multiplier(float(np.float64(input_scale) / np.float64(output_scale)))
    # The division by `count` keeps as many bits as the shift leaves room for.
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << extra) // count, shift - extra


def hard_swish(
    x: ArrayLike, input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> NDArray[np.int64]:
    """HARD_SWISH on int8 in TFLite's 16-bit fixed point: x * relu6(x + 3) / 6; Howard et al. 2019, eq. 1."""
    hires_scale = np.float32(1.0 / 128.0) * np.float32(input_scale)
    multiplier, exponent = quantize_multiplier(float(hires_scale / np.float32(output_scale)))
    relu_multiplier, relu_exponent = quantize_multiplier(float(hires_scale / (np.float32(3.0) / np.float32(32768.0))))
    if exponent > 0:
        raise UnsupportedError(
            f"HARD_SWISH from scale {input_scale:g} to {output_scale:g} overflows TFLite's 16-bit kernel; "
            "quantize the model again so that the output's range is not much smaller than the input's"
        )
    hires = (np.asarray(x, np.int64) - input_zero_point) << 7
    preshift = _high_multiply_16(hires, _to_16_bits(multiplier))
    relu = hires
    if relu_exponent > 0:
        relu = _saturate_16(relu << (relu_exponent - 1))
    relu = _high_multiply_16(relu, _to_16_bits(relu_multiplier))
    if relu_exponent > 0:
        relu = _saturate_16(relu << 1)
    elif relu_exponent < 0:
        relu = rounding_shift_right(relu, -relu_exponent)
    relu = (relu + (1 << 15)) >> 1
    product = relu * preshift
    # C's division truncates; this one rounding bias cancels that of the multiplications above.
    product = np.where(product < 0, -(-product >> 15), product >> 15)
    return clamp(rounding_shift_right(product, -exponent) + output_zero_point)


def _saturate_16(x: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(x, -(1 << 15), (1 << 15) - 1)


def _to_16_bits(multiplier: int) -> int:
    return (1 << 15) - 1 if multiplier >= _INT32_MAX - (1 << 15) else (multiplier + (1 << 15)) >> 16


def _high_multiply_16(a: NDArray[np.int64], b: int) -> NDArray[np.int64]:
    rounded: NDArray[np.int64] = np.minimum((a * b + (1 << 14)) >> 15, (1 << 15) - 1)
    return rounded


def input_radius(integer_bits: int, left_shift: int) -> int:
    """The largest |input| that a fixed-point function with `integer_bits` still takes: CalculateInputRadius."""
    return math.floor(((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / 2.0**left_shift)


def logistic(
    x: ArrayLike,
    input_scale: float,
    input_zero_point: int,
    output_scale: float = 1 / 256,
    output_zero_point: int = -128,
) -> NDArray[np.int64]:
    """LOGISTIC on int8 as LiteRT tabulates it, in float32 and rounded half away from zero.

    TFLite Micro's kernel is in fixed point, and differs by one step about once in 700 inputs.
    """
    real = np.float32(input_scale) * (np.asarray(x, np.int64) - input_zero_point).astype(np.float32)
    # The C library's expf is exact to the last bit almost everywhere; NumPy's float32 exp is not.
    exponential = np.exp(-real.astype(np.float64)).astype(np.float32)
    share = np.float32(1) / (np.float32(1) + exponential)
    steps = share * (np.float32(1) / np.float32(output_scale))
    return clamp(np.floor(steps.astype(np.float64) + 0.5).astype(np.int64) + output_zero_point)


def hyperbolic_tangent(
    x: ArrayLike, input_scale: float, input_zero_point: int, output_scale: float = 1 / 128, output_zero_point: int = 0
) -> NDArray[np.int64]:
    """TANH on int8 as LiteRT tabulates it, in float32 and rounded half away from zero."""
    real = np.float32(input_scale) * (np.asarray(x, np.int64) - input_zero_point).astype(np.float32)
    # The C library's tanhf is exact to the last bit almost everywhere; NumPy's float32 tanh is not.
    steps = np.tanh(real.astype(np.float64)).astype(np.float32) * (np.float32(1) / np.float32(output_scale))
    rounded = np.sign(steps) * np.floor(np.abs(steps).astype(np.float64) + 0.5)
    return clamp(rounded.astype(np.int64) + output_zero_point)


def exponential(
    x: ArrayLike, input_scale: float, input_zero_point: int, output_scale: float, output_zero_point: int
) -> NDArray[np.int64]:
    """EXP on int8 as LiteRT tabulates it, in float32 and rounded half away from zero.

    Results beyond the int8 range are cut to it; LiteRT wraps those beyond 2^31 steps on some processors.
    """
    real = np.float32(input_scale) * (np.asarray(x, np.int64) - input_zero_point).astype(np.float32)
    with np.errstate(over="ignore"):
        power = np.exp(real.astype(np.float64)).astype(np.float32)
        steps = power * (np.float32(1) / np.float32(output_scale))
    return clamp(np.floor(np.minimum(steps, _INT32_MAX).astype(np.float64) + 0.5).astype(np.int64) + output_zero_point)


def exp_of_negative(x: ArrayLike, integer_bits: int) -> NDArray[np.int64]:
    """exp(x) in Q0.31 for x <= 0 with `integer_bits` bits before the point: gemmlowp's exp_on_negative_values."""
    x = np.asarray(x, np.int64)
    fractional_bits = 31 - integer_bits
    quarter = 1 << (fractional_bits - 2)
    modulo = (x & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_0(np.clip(modulo << integer_bits, _INT32_MIN, _INT32_MAX))
    remainder = modulo - x
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)  # exp(-2^e), e from -2
    for exponent, factor in zip(range(-2, 5), factors, strict=True):
        if integer_bits > exponent:
            bit = remainder & (1 << (fractional_bits + exponent))
            result = np.where(bit != 0, doubling_high_multiply(result, factor), result)
    return np.where(x == 0, _INT32_MAX, result)


def _exp_between_minus_quarter_and_0(a: NDArray[np.int64]) -> NDArray[np.int64]:
    exp_minus_eighth, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = doubling_high_multiply(x, x)
    x3 = doubling_high_multiply(x2, x)
    x4 = doubling_high_multiply(x2, x2)
    series = rounding_shift_right(doubling_high_multiply(rounding_shift_right(x4, 2) + x3, third) + x2, 1)
    result: NDArray[np.int64] = exp_minus_eighth + doubling_high_multiply(exp_minus_eighth, x + series)
    return result


def softmax_multiplier(beta: float, input_scale: float) -> tuple[int, int]:
    """The (multiplier, shift) from steps of a SOFTMAX's input to Q5.26."""
    return quantize_multiplier(min(float(beta) * float(np.float32(input_scale)) * (1 << 26), _INT32_MAX))


def softmax_exponentials(beta: float, input_scale: float) -> NDArray[np.int64]:
    """exp(beta * scale * -d) in Q0.31 for d = 0 … 255 steps below the row's maximum; 0 where SOFTMAX skips."""
    multiplier, left_shift = softmax_multiplier(beta, input_scale)
    differences = -np.arange(256, dtype=np.int64)
    # Steps beyond the radius would overflow the shift; they are cut to 0 below.
    skipped = differences < -input_radius(5, left_shift)
    rescaled = multiply(np.where(skipped, 0, differences), multiplier, left_shift)
    return np.where(skipped, 0, exp_of_negative(rescaled, 5))


# Places at which the runtime's table is one above the nearest value.
_ABOVE_SIGMOID = (
    4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46,
    49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255,
)  # fmt: skip


def sigmoid_table() -> NDArray[np.int64]:
    """1 / (1 + exp(-i / 24)) in Q0.16 for i = 0 … 255, between which LOGISTIC and TANH on int16 interpolate."""
    shares = np.floor(65536.0 / (1.0 + np.exp(-np.arange(256) / 24.0)) + 0.5).astype(np.int64)
    shares[list(_ABOVE_SIGMOID)] += 1
    return clamp(shares, 0, 65535)


def nearest_power(scale: float) -> int | None:
    """The exponent of a scale that TFLite takes for a power of two; None for another."""
    exponent = math.log2(scale)
    return round(exponent) if abs(exponent - round(exponent)) < 1e-3 else None


def softmax_tables_16() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The tables of SOFTMAX on int16: exp(x) for x = -10 … 0, and 1 / (1 + x) for x = 0 … 1, each of 513 values."""
    exponentials = _table_16(10.0 / 65535.0, 32767, np.exp)
    return exponentials, _table_16(1.0 / 65535.0, -32768, lambda x: 1.0 / (1.0 + x))


def _table_16(
    scale: float, zero_point: int, function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.int64]:
    """Values of a function in Q0.15 over all int16 steps, shifted by half the error of interpolating between them."""
    low, high = scale * (-32768 - zero_point), scale * (32767 - zero_point)
    step = (high - low) / 512
    to_steps = 65536.0 / (2.0 / 65535.0 * 32767 - 2.0 / 65535.0 * -32768)
    places: NDArray[np.float64] = low + np.arange(512, dtype=np.float64) * step
    ahead: NDArray[np.float64] = low + np.arange(1, 513, dtype=np.float64) * step
    values = _round_away(function(places) * to_steps)
    between = _round_away((function(ahead) * to_steps + values) / 2)
    error = _round_away((between - _round_away(function(places + step / 2) * to_steps)) / 2)
    last = _round_away(function(np.array([high])) * to_steps)
    return clamp(np.concatenate([values - error, last]), -32768, 32767)


def _round_away(x: NDArray[np.floating]) -> NDArray[np.int64]:
    rounded: NDArray[np.int64] = (np.sign(x) * np.floor(np.abs(x) + 0.5)).astype(np.int64)
    return rounded
