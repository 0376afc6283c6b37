struct int16_convolution {
    const int8_t *weights; /* for each four output channels their weights side by side, HWI; those of the rest OHWI */
    struct int16_steps steps;
    int32_t output_channels, is_narrow;    /* whether no sum passes 32 bits */
    int32_t input_columns, input_channels; /* input_columns 0: every output pixel reads its own input pixel */
    int32_t kernel_rows, kernel_columns, stride, dilation, pad_left;
};

/* One row of a dense convolution of steps of 16 bits. rows[i] is the input row under kernel row i, NULL in the padding, which
 * is 0 and adds nothing. */
KERNEL void int16_convolution(const struct int16_convolution *layer, const int8_t *const *rows, void *steps,
                              int32_t output_columns)
{
    const int32_t depth = layer->input_channels, columns = layer->kernel_columns, channels = layer->output_channels;
    int16_t *output = (int16_t *)steps;
    for (int32_t column = 0; column < output_columns; column++, output += channels) {
        const int32_t left = column * layer->stride - layer->pad_left;
        /* The taps of a kernel row that lie inside; side by side they are one run. */
        int32_t first = 0, last = columns;
        while (layer->input_columns != 0 && first < last && left + first * layer->dilation < 0) {
            first++;
        }
        while (layer->input_columns != 0 && first < last && left + (last - 1) * layer->dilation >= layer->input_columns) {
            last--;
        }
        const int32_t span = layer->dilation == 1 && first < last ? last - first : 1;
        const int8_t *weights = layer->weights;
        int32_t channel = 0;
        for (; channel < channels; channel += channels - channel >= 4 ? 4 : 1) {
            const int64_t *const bias = layer->steps.bias + channel;
            const int32_t count = channels - channel >= 4 ? 4 : 1;
            int64_t sums[4] = {bias[0], count == 4 ? bias[1] : 0, count == 4 ? bias[2] : 0, count == 4 ? bias[3] : 0};
            for (int32_t i = 0; i < layer->kernel_rows; i++, weights += count * columns * depth) {
                const int16_t *const row = (const int16_t *)(const void *)rows[i];
                for (int32_t j = row == NULL ? last : first; j < last; j += span) {
                    const int16_t *const pixel = row + (left + j * layer->dilation) * depth;
                    if (count == 4) {
                        int16_four_sums(pixel, weights + 4 * j * depth, span * depth, layer->is_narrow, sums);
                    } else {
                        sums[0] = int16_one_sum(pixel, weights + j * depth, span * depth, sums[0]);
                    }
                }
            }
            for (int32_t i = 0; i < count; i++) {
                output[channel + i] = int16_step(&layer->steps, channel + i, sums[i]);
            }
        }
    }
}
