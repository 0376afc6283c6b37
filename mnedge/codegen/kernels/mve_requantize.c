/* Armv8.1-M with MVE (Helium); the C beside each assembly function is what other compilers get. */
#if defined(__ARM_FEATURE_MVE) && defined(__GNUC__)
#define MVE 1
#else
#define MVE 0
#endif

/* From an accumulator to steps -128 … 127; shift is -31 … -1. */
INLINE int32_t requantize_lane(int32_t sum, int32_t multiplier, int32_t shift, int32_t zero_point)
{
    int32_t x = (int32_t)(((int64_t)sum * multiplier + ((int64_t)1 << 30)) >> 31);
    x = ((x + (x >> 31) + (1 << (-shift - 1))) >> -shift) + zero_point;
    return x < -128 ? -128 : x > 127 ? 127 : x;
}

/* The same with one rounding, ties up. */
INLINE int32_t requantize_lane_once(int32_t sum, int32_t multiplier, int32_t shift, int32_t zero_point)
{
    const int32_t x = (int32_t)(((int64_t)sum * multiplier + ((int64_t)1 << (30 - shift))) >> (31 - shift)) + zero_point;
    return x < -128 ? -128 : x > 127 ? 127 : x;
}
