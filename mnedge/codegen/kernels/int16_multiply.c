struct int16_multiply {
    int32_t zero_point_1, zero_point_2, zero_point, low, high, multiplier, shift;
};

/* a * b of steps of 16 bits, where b starts again with every run. May work in place of a. */
KERNEL void int16_multiply(const struct int16_multiply *layer, const void *first, const void *second, void *products,
                           int32_t runs, int32_t length)
{
    const int16_t *a = (const int16_t *)first, *const b = (const int16_t *)second;
    int16_t *output = (int16_t *)products;
    for (; runs > 0; runs--, a += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t product = (a[i] - layer->zero_point_1) * (b[i] - layer->zero_point_2);
            const int32_t step = requantize(product, layer->multiplier, layer->shift) + layer->zero_point;
            output[i] = (int16_t)(step < layer->low ? layer->low : step > layer->high ? layer->high : step);
        }
    }
}
