struct mean {
    int32_t pixels, channels, input_zero_point, multiplier, shift, zero_point;
};

/* The mean of each channel; scratch holds one int32 a channel. */
KERNEL void mean(const struct mean *layer, const int8_t *input, int8_t *output, int8_t *scratch)
{
    int32_t *const sums = (int32_t *)(void *)scratch;
    channel_sums(input, sums, layer->pixels, layer->channels);
    for (int32_t channel = 0; channel < layer->channels; channel++) {
        const int32_t centred = sums[channel] - layer->pixels * layer->input_zero_point;
        const int32_t scaled = requantize(centred, layer->multiplier, layer->shift);
        output[channel] = clamp_int8(scaled + layer->zero_point, -128, 127);
    }
}
