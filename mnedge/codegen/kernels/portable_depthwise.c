struct portable_depthwise {
    const int8_t *weights; /* HWC */
    const int32_t *bias;   /* with -input_zero_point * sum(weights) */
    const int32_t *multiplier;
    const int8_t *shift;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t output_channels, zero_point, low, high;
    int32_t input_columns, input_channels, kernel_rows, kernel_columns, stride, dilation, pad_left, pad_value;
    int32_t output_columns, multiplicity; /* output channels of each input channel */
};

/* One row of a depthwise convolution. rows[i] is the input row under kernel row i, NULL in the padding;
 * scratch holds one input pixel. */
KERNEL void portable_depthwise(const struct portable_depthwise *layer, const int8_t *const *rows, int8_t *output,
                               int8_t *scratch)
{
    const int32_t depth = layer->input_channels;
    for (int32_t channel = 0; channel < depth; channel++) {
        scratch[channel] = (int8_t)layer->pad_value;
    }
    for (int32_t column = 0; column < layer->output_columns; column++) {
        for (int32_t channel = 0; channel < layer->output_channels; channel++) {
            const int8_t *weights = layer->weights + channel;
            const int32_t source = channel / layer->multiplicity;
            int32_t sum = layer->bias[channel];
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                for (int32_t j = 0; j < layer->kernel_columns; j++) {
                    const int32_t x = column * layer->stride - layer->pad_left + j * layer->dilation;
                    const int inside = rows[i] != NULL && x >= 0 && x < layer->input_columns;
                    sum += (inside ? rows[i] + x * depth : scratch)[source] * *weights;
                    weights += layer->output_channels;
                }
            }
            sum = requantize(sum, layer->multiplier[channel], layer->shift[channel]) + layer->zero_point;
            const int8_t step = clamp_int8(sum, layer->low, layer->high);
            *output++ = layer->table != NULL ? layer->table[step + 128] : step;
        }
    }
}
