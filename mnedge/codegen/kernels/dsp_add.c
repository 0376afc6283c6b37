struct dsp_add {
    int32_t zero_point_1, zero_point_2, zero_point, low, high;
    int32_t multiplier_1, shift_1, multiplier_2, shift_2, multiplier, shift;
    const int8_t *table;
};

/* The rounding shift of an input: ties away from zero, and nothing where the shift is 0. */
INLINE int32_t shift_rounded(int32_t x, int32_t shift)
{
    return shift == 0 ? x : (x + (x >> 31) + (1 << (shift - 1))) >> shift;
}

/* a + b, where b starts again with every run. May work in place of a. */
KERNEL void dsp_add(const struct dsp_add *layer, const int8_t *a, const int8_t *b, int8_t *output, int32_t runs,
                    int32_t length)
{
    for (; runs > 0; runs--, a += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t first = high_multiply((a[i] - layer->zero_point_1) * (1 << 21), layer->multiplier_1);
            const int32_t second = high_multiply((b[i] - layer->zero_point_2) * (1 << 21), layer->multiplier_2);
            const int32_t sum = shift_rounded(first, -layer->shift_1) + shift_rounded(second, -layer->shift_2);
            output[i] = (int8_t)requantize_doubled(2 * sum, layer->multiplier, -layer->shift, layer->zero_point);
        }
    }
}
