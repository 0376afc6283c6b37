/* The sum of each channel over all pixels. */
KERNEL void portable_channel_sums(const int8_t *input, int32_t *sums, int32_t pixels, int32_t channels)
{
    for (int32_t channel = 0; channel < channels; channel++) {
        sums[channel] = 0;
    }
    for (int32_t pixel = 0; pixel < pixels; pixel++) {
        for (int32_t channel = 0; channel < channels; channel++) {
            sums[channel] += *input++;
        }
    }
}
