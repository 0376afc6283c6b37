struct portable_depthwise {
    struct geometry geometry;
    const int8_t *weights; /* HWC */
    const int32_t *bias;   /* with -input_zero_point * sum(weights) */
    const int32_t *multiplier;
    const int8_t *shift;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t output_channels, zero_point, low, high;
    int32_t multiplicity; /* output channels of each input channel */
};

INLINE int8_t depthwise_step(const struct portable_depthwise *layer, int32_t channel, int32_t sum)
{
    sum = requantize(sum, layer->multiplier[channel], layer->shift[channel]) + layer->zero_point;
    const int8_t step = clamp_int8(sum, layer->low, layer->high);
    return layer->table != NULL ? layer->table[step + 128] : step;
}

/* One row of a depthwise convolution. rows[i] is the input row under kernel row i, NULL in the padding;
 * scratch holds one input pixel, taps a pointer a tap. */
KERNEL void portable_depthwise(const struct portable_depthwise *layer, const int8_t *const *rows, int8_t *output,
                               int8_t *scratch, const int8_t **taps)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns, channels = layer->output_channels;
    fill_pixel(scratch, geometry->input_channels, geometry->pad_value);
    for (int32_t column = 0; column < geometry->output_columns; column++, output += channels) {
        move_taps(geometry, rows, column, scratch, taps);
        int32_t channel = 0;
        for (; layer->multiplicity == 1 && channel + 4 <= channels; channel += 4) {
            const int32_t *const bias = layer->bias + channel;
            const int8_t *weights = layer->weights + channel;
            int32_t a = bias[0], b = bias[1], c = bias[2], d = bias[3];
            for (const int8_t *const *tap = taps; tap != taps + count; tap++, weights += channels) {
                const int8_t *const pixel = *tap + channel;
                a += pixel[0] * weights[0];
                b += pixel[1] * weights[1];
                c += pixel[2] * weights[2];
                d += pixel[3] * weights[3];
            }
            output[channel] = depthwise_step(layer, channel, a);
            output[channel + 1] = depthwise_step(layer, channel + 1, b);
            output[channel + 2] = depthwise_step(layer, channel + 2, c);
            output[channel + 3] = depthwise_step(layer, channel + 3, d);
        }
        for (; channel < channels; channel++) {
            const int8_t *weights = layer->weights + channel;
            const int32_t source = channel / layer->multiplicity;
            int32_t sum = layer->bias[channel];
            for (int32_t k = 0; k < count; k++, weights += channels) {
                sum += taps[k][source] * *weights;
            }
            output[channel] = depthwise_step(layer, channel, sum);
        }
    }
}
