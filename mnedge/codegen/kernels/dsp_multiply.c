struct dsp_multiply {
    int32_t zero_point_1, zero_point_2, zero_point, low, high, multiplier, shift; /* shift is -31 … -1 */
    const int8_t *table;                                                         /* replaces each output step, or NULL */
};

/* a * b, where b starts again with every run. May work in place of a. */
KERNEL void dsp_multiply(const struct dsp_multiply *layer, const int8_t *a, const int8_t *b, int8_t *output, int32_t runs,
                         int32_t length)
{
    const int32_t zero_point_1 = layer->zero_point_1, zero_point_2 = layer->zero_point_2;
    const int32_t multiplier = layer->multiplier, shift = -layer->shift, zero_point = layer->zero_point;
    for (; runs > 0; runs--) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t doubled = (*a++ - zero_point_1) * 2 * (b[i] - zero_point_2);
            *output++ = (int8_t)requantize_doubled(doubled, multiplier, shift, zero_point);
        }
    }
}
