struct mean {
    int32_t pixels, channels, input_zero_point, multiplier, shift, zero_point;
};

/* The mean of each channel of its sum over all pixels. */
KERNEL void mean(const struct mean *layer, const int32_t *sums, int8_t *output)
{
    for (int32_t channel = 0; channel < layer->channels; channel++) {
        const int32_t centred = sums[channel] - layer->pixels * layer->input_zero_point;
        const int32_t scaled = requantize(centred, layer->multiplier, layer->shift);
        output[channel] = clamp_int8(scaled + layer->zero_point, -128, 127);
    }
}
