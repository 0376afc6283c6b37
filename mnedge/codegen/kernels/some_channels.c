struct some_channels {
    const int16_t *weights; /* of each channel: rows, columns, the input channels that it reads */
    const int32_t *bias;   /* with -input_zero_point * sum(weights) */
    const int32_t *multiplier;
    const int8_t *shift;
    const int16_t *places, *sources; /* the channel in the output, and the first one that it reads */
    const int8_t *table;             /* replaces each output step, or NULL */
    int32_t count, reads, output_channels, zero_point, low, high, round_once;
    int32_t input_columns, input_channels, kernel_rows, kernel_columns, stride, dilation, pad_left, pad_value;
};

/* Some output channels of one row of a convolution: those that a faster kernel cannot compute exactly. rows[i] is NULL in
 * the padding; with input_columns 0 every output pixel reads its own input pixel. */
KERNEL void some_channels(const struct some_channels *layer, const int8_t *const *rows, int8_t *output, int32_t columns)
{
    for (int32_t column = 0; column < columns; column++, output += layer->output_channels) {
        const int16_t *weights = layer->weights;
        for (int32_t channel = 0; channel < layer->count; channel++) {
            int32_t sum = layer->bias[channel];
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                for (int32_t j = 0; j < layer->kernel_columns; j++, weights += layer->reads) {
                    const int32_t x = column * layer->stride - layer->pad_left + j * layer->dilation;
                    const int inside = rows[i] != NULL && (layer->input_columns == 0 || (x >= 0 && x < layer->input_columns));
                    const int32_t place = x * layer->input_channels + layer->sources[channel];
                    for (int32_t k = 0; k < layer->reads; k++) {
                        sum += (inside ? rows[i][place + k] : layer->pad_value) * weights[k];
                    }
                }
            }
            const int32_t multiplier = layer->multiplier[channel], shift = layer->shift[channel];
            sum = layer->round_once ? requantize_once(sum, multiplier, shift) : requantize(sum, multiplier, shift);
            const int8_t step = clamp_int8(sum + layer->zero_point, layer->low, layer->high);
            output[layer->places[channel]] = layer->table != NULL ? layer->table[step + 128] : step;
        }
    }
}
