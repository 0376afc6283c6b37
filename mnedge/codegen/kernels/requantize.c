/* x * multiplier / 2^31 rounded, then the shift: TFLite's MultiplyByQuantizedMultiplier with double rounding.
 * A positive shift goes to the left, before the multiplication. */
INLINE int32_t requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    const int64_t product = (int64_t)x * ((int64_t)1 << left) * multiplier;
    const int32_t high = (int32_t)((product + ((int64_t)1 << 30)) >> 31);
    const int64_t half = ((int64_t)1 << right) >> 1;
    /* Ties go away from zero. */
    return (int32_t)((high + half - (high < 0 && right > 0)) >> right);
}

/* The same with one rounding, ties up. */
INLINE int32_t requantize_once(int32_t x, int32_t multiplier, int32_t shift)
{
    return (int32_t)(((int64_t)x * multiplier + ((int64_t)1 << (30 - shift))) >> (31 - shift));
}

INLINE int8_t clamp_int8(int32_t x, int32_t low, int32_t high)
{
    return (int8_t)(x < low ? low : x > high ? high : x);
}
