struct int16_add {
    int32_t zero_point_1, zero_point_2, zero_point, low, high;
    int32_t multiplier_1, shift_1, multiplier_2, shift_2, multiplier, shift;
    int32_t sign; /* of the second one */
};

/* a + b or a - b of steps of 16 bits, where b starts again with every run. May work in place of a. */
KERNEL void int16_add(const struct int16_add *layer, const void *first, const void *second, void *sums, int32_t runs,
                      int32_t length)
{
    const int16_t *a = (const int16_t *)first, *const b = (const int16_t *)second;
    int16_t *output = (int16_t *)sums;
    for (; runs > 0; runs--, a += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t one = requantize((a[i] - layer->zero_point_1) * (1 << 15), layer->multiplier_1, layer->shift_1);
            const int32_t other = requantize((b[i] - layer->zero_point_2) * (1 << 15), layer->multiplier_2, layer->shift_2);
            const int32_t sum = one + layer->sign * other;
            const int32_t step = requantize(sum, layer->multiplier, layer->shift) + layer->zero_point;
            output[i] = (int16_t)(step < layer->low ? layer->low : step > layer->high ? layer->high : step);
        }
    }
}
