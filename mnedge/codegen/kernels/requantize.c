/* x * multiplier / 2^31 rounded, then the shift: TFLite's MultiplyByQuantizedMultiplier with double rounding.
 * A positive shift goes to the left, before the multiplication. */
INLINE int32_t requantize(int32_t x, int32_t multiplier, int32_t shift)
{
    const int64_t product = (int64_t)x * multiplier;
    if (shift >= 0) {
        return (int32_t)((product * ((int64_t)1 << shift) + ((int64_t)1 << 30)) >> 31);
    }
    const int32_t high = (int32_t)((product + ((int64_t)1 << 30)) >> 31);
    const int32_t mask = (int32_t)((1u << -shift) - 1u);
    /* Ties go away from zero. */
    return (high >> -shift) + ((high & mask) > (mask >> 1) + (high < 0));
}

/* The same with one rounding. */
INLINE int32_t requantize_once(int32_t x, int32_t multiplier, int32_t shift)
{
    const int64_t product = (int64_t)x * multiplier;
    return (int32_t)((product + ((int64_t)1 << (30 - shift)) - (product < 0)) >> (31 - shift));
}

INLINE int8_t clamp_int8(int32_t x, int32_t low, int32_t high)
{
    return (int8_t)(x < low ? low : x > high ? high : x);
}
