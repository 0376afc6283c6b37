struct portable_multiply {
    int32_t zero_point_1, zero_point_2, zero_point, low, high, multiplier, shift;
    const int8_t *table; /* replaces each output step, or NULL */
};

/* a * b, where b starts again with every run. May work in place of a. */
KERNEL void portable_multiply(const struct portable_multiply *layer, const int8_t *a, const int8_t *b, int8_t *output,
                              int32_t runs, int32_t length)
{
    for (; runs > 0; runs--, a += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t product = (a[i] - layer->zero_point_1) * (b[i] - layer->zero_point_2);
            const int32_t scaled = requantize(product, layer->multiplier, layer->shift) + layer->zero_point;
            const int8_t step = clamp_int8(scaled, layer->low, layer->high);
            output[i] = layer->table != NULL ? layer->table[step + 128] : step;
        }
    }
}
