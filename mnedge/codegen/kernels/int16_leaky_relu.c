struct int16_leaky_relu {
    int32_t multiplier, shift;                   /* of steps from 0 on */
    int32_t negative_multiplier, negative_shift; /* of those below; the multiplier has the sign of the slope */
};

/* LEAKY_RELU of steps of 16 bits, whose zero points are 0. May work in place. */
KERNEL void int16_leaky_relu(const struct int16_leaky_relu *layer, const void *input, void *output, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const int32_t x = ((const int16_t *)input)[i];
        const int32_t step = x >= 0 ? requantize(x, layer->multiplier, layer->shift)
                                    : requantize(x, layer->negative_multiplier, layer->negative_shift);
        ((int16_t *)output)[i] = (int16_t)(step < -32768 ? -32768 : step > 32767 ? 32767 : step);
    }
}
