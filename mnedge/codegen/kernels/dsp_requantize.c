/* Armv7E-M with DSP; the C beside each instruction is what other compilers get. */
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
#define DSP 1
#else
#define DSP 0
#endif

#if DSP
/* Rounds x * 2^-shift + zero_point to a step, ties up: the carry is the last bit shifted out. */
#define ROUND_UP(x, shift, zero_point)         \
    "asrs " x ", " x ", " shift "\n\t"         \
    "adc " x ", " x ", " zero_point "\n\t"     \
    "ssat " x ", #8, " x "\n\t"
/* The same with ties away from zero: negatives are one less beforehand. */
#define ROUND(x, shift, zero_point) "add " x ", " x ", " x ", asr #31\n\t" ROUND_UP(x, shift, zero_point)
#endif

/* round(a * b / 2^32): with a doubled accumulator TFLite's SaturatingRoundingDoublingHighMul. */
INLINE int32_t high_multiply(int32_t a, int32_t b)
{
#if DSP
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
#else
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 31)) >> 32);
#endif
}

/* From a doubled accumulator to steps -128 … 127; shift is 1 … 31, to the right. */
INLINE int32_t requantize_doubled(int32_t doubled, int32_t multiplier, int32_t shift, int32_t zero_point)
{
    int32_t x = high_multiply(doubled, multiplier);
#if DSP
    __asm__(ROUND("%0", "%1", "%2")
            : "+r"(x)
            : "r"(shift), "r"(zero_point)
            : "cc");
    return x;
#else
    x = ((x + (x >> 31) + (1 << (shift - 1))) >> shift) + zero_point;
    return x < -128 ? -128 : x > 127 ? 127 : x;
#endif
}

/* The same with one rounding, ties up. */
INLINE int32_t requantize_once_doubled(int32_t doubled, int32_t multiplier, int32_t shift, int32_t zero_point)
{
    const int32_t high = (int32_t)((int64_t)doubled * multiplier >> 32);
    const int32_t x = (int32_t)(((int64_t)high + (1 << (shift - 1))) >> shift) + zero_point;
    return x < -128 ? -128 : x > 127 ? 127 : x;
}
