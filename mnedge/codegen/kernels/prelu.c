struct prelu {
    const int8_t *slopes; /* one a channel, or one an element */
    int32_t zero_point_1, zero_point_2, zero_point;
    int32_t multiplier_1, shift_1; /* above 0 */
    int32_t multiplier_2, shift_2; /* below, of the product with the slope */
};

/* Each element, or its product with a slope where it is below 0; the slopes start again with every run. In place. */
KERNEL void prelu(const struct prelu *layer, const int8_t *input, int8_t *output, int32_t runs, int32_t length)
{
    for (; runs > 0; runs--, input += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            const int32_t centred = input[i] - layer->zero_point_1;
            const int32_t slope = layer->slopes[i] - layer->zero_point_2;
            const int32_t scaled = centred >= 0 ? requantize(centred, layer->multiplier_1, layer->shift_1)
                                                : requantize(centred * slope, layer->multiplier_2, layer->shift_2);
            output[i] = clamp_int8(scaled + layer->zero_point, -128, 127);
        }
    }
}
