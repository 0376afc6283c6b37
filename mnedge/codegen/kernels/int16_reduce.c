INLINE int32_t int16_reduced(const struct reduce *layer, const int16_t *input, int how)
{
    int32_t result = how == REDUCE_SUM ? layer->offset : *input;
    for (int32_t a = 0; a < layer->reduced_extents[0]; a++) {
        for (int32_t b = 0; b < layer->reduced_extents[1]; b++) {
            const int16_t *from = input + a * layer->reduced_strides[0] + b * layer->reduced_strides[1];
            for (int32_t c = 0; c < layer->reduced_extents[2]; c++, from += layer->reduced_strides[2]) {
                if (how == REDUCE_SUM) {
                    result += *from;
                } else if (how == REDUCE_MAXIMUM) {
                    result = *from > result ? *from : result;
                } else {
                    result = *from < result ? *from : result;
                }
            }
        }
    }
    return result;
}

/* Sums, maxima or minima of steps of 16 bits over any dimensions. */
KERNEL void int16_reduce(const struct reduce *layer, const void *steps, void *results, int how)
{
    const int32_t *const extents = layer->extents, *const strides = layer->strides;
    const int16_t *const input = (const int16_t *)steps;
    int16_t *output = (int16_t *)results;
    for (int32_t a = 0; a < extents[0]; a++) {
        for (int32_t b = 0; b < extents[1]; b++) {
            for (int32_t c = 0; c < extents[2]; c++) {
                for (int32_t d = 0; d < extents[3]; d++) {
                    const int32_t place = a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];
                    int32_t step = int16_reduced(layer, input + place, how);
                    if (how == REDUCE_SUM) {
                        step = requantize(step, layer->multiplier, layer->shift) + layer->zero_point;
                    }
                    *output++ = (int16_t)(step < -32768 ? -32768 : step > 32767 ? 32767 : step);
                }
            }
        }
    }
}
