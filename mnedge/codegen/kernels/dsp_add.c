struct dsp_add {
    int32_t zero_point_1, zero_point_2, zero_point, low, high;
    int32_t multiplier_1, shift_1, multiplier_2, shift_2, multiplier, shift; /* shifts are -31 … 0 */
    const int8_t *table;                                                     /* replaces each output step, or NULL */
};

/* a + b, where b starts again with every run. May work in place of a. */
KERNEL void dsp_add(const struct dsp_add *layer, const int8_t *a, const int8_t *b, int8_t *output, int32_t runs,
                    int32_t length)
{
    const int32_t zero_point_1 = layer->zero_point_1, multiplier_1 = layer->multiplier_1, shift_1 = -layer->shift_1;
    const int32_t zero_point_2 = layer->zero_point_2, multiplier_2 = layer->multiplier_2, shift_2 = -layer->shift_2;
    /* Ties go away from zero, by one less for negatives; a shift of 0 rounds nothing. */
    const int32_t half_1 = (1 << shift_1) >> 1, tie_1 = -(shift_1 != 0), half_2 = (1 << shift_2) >> 1, tie_2 = -(shift_2 != 0);
    for (; runs > 0; runs--) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t first = high_multiply((*a++ - zero_point_1) * (1 << 21), multiplier_1);
            const int32_t second = high_multiply((b[i] - zero_point_2) * (1 << 21), multiplier_2);
            const int32_t sum = ((first + (first >> 31 & tie_1) + half_1) >> shift_1) +
                                ((second + (second >> 31 & tie_2) + half_2) >> shift_2);
            *output++ = (int8_t)requantize_doubled(2 * sum, layer->multiplier, -layer->shift, layer->zero_point);
        }
    }
}
