struct int16_depthwise {
    const int8_t *weights; /* HWC */
    struct int16_steps steps;
    int32_t output_channels, is_narrow; /* whether no sum passes 32 bits */
    struct geometry geometry;           /* its input channels in bytes */
    int32_t multiplicity;               /* output channels of each input channel */
};

/* One row of a depthwise convolution of steps of 16 bits. rows[i] is the input row under kernel row i, NULL in the padding;
 * scratch holds one input pixel, taps a pointer a tap. */
KERNEL void int16_depthwise(const struct int16_depthwise *layer, const int8_t *const *rows, void *steps, int8_t *scratch,
                            const int8_t **taps)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns, channels = layer->output_channels;
    int16_t *output = (int16_t *)steps;
    fill_pixel(scratch, geometry->input_channels, 0);
    for (int32_t column = 0; column < geometry->output_columns; column++, output += channels) {
        move_taps(geometry, rows, column, scratch, taps);
        for (int32_t channel = 0; channel < channels; channel++) {
            const int8_t *weights = layer->weights + channel;
            const int32_t source = layer->multiplicity == 1 ? channel : channel / layer->multiplicity;
            int64_t sum = layer->steps.bias[channel];
            if (layer->is_narrow) {
                int32_t narrow = 0;
                for (int32_t k = 0; k < count; k++, weights += channels) {
                    narrow += ((const int16_t *)(const void *)taps[k])[source] * *weights;
                }
                sum += narrow;
            } else {
                for (int32_t k = 0; k < count; k++, weights += channels) {
                    sum += (int64_t)((const int16_t *)(const void *)taps[k])[source] * *weights;
                }
            }
            output[channel] = int16_step(&layer->steps, channel, sum);
        }
    }
}
