struct portable_add {
    int32_t zero_point_1, zero_point_2, zero_point, low, high;
    int32_t multiplier_1, shift_1, multiplier_2, shift_2, multiplier, shift;
    const int8_t *table; /* replaces each output step, or NULL */
};

/* a + b, where b starts again with every run. May work in place of a. */
KERNEL void portable_add(const struct portable_add *layer, const int8_t *a, const int8_t *b, int8_t *output,
                       int32_t runs, int32_t length)
{
    for (; runs > 0; runs--, a += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t first = requantize((a[i] - layer->zero_point_1) * (1 << 20), layer->multiplier_1, layer->shift_1);
            const int32_t second = requantize((b[i] - layer->zero_point_2) * (1 << 20), layer->multiplier_2, layer->shift_2);
            const int32_t sum = requantize(first + second, layer->multiplier, layer->shift) + layer->zero_point;
            const int8_t step = clamp_int8(sum, layer->low, layer->high);
            output[i] = layer->table != NULL ? layer->table[step + 128] : step;
        }
    }
}
