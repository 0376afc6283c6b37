struct int16_requantize {
    int32_t from_bytes, to_bytes; /* whether the input, or the output, are steps of 8 bits */
    int32_t zero_point_1, multiplier, shift, zero_point, low, high;
};

/* Steps of another scale. May work in place where both are of one size. */
KERNEL void int16_requantize(const struct int16_requantize *layer, const void *input, void *output, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const int32_t x = layer->from_bytes ? ((const int8_t *)input)[i] : ((const int16_t *)input)[i];
        int32_t step = requantize(x - layer->zero_point_1, layer->multiplier, layer->shift) + layer->zero_point;
        step = step < layer->low ? layer->low : step > layer->high ? layer->high : step;
        if (layer->to_bytes) {
            ((int8_t *)output)[i] = (int8_t)step;
        } else {
            ((int16_t *)output)[i] = (int16_t)step;
        }
    }
}
