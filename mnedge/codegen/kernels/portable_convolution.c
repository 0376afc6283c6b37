struct portable_convolution {
    const int8_t *weights; /* OHWI */
    const int32_t *bias;   /* with -input_zero_point * sum(weights) */
    const int32_t *multiplier;
    const int8_t *shift;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t output_channels, zero_point, low, high;
    int32_t round_once; /* as LiteRT's FULLY_CONNECTED does, and no other op */
    int32_t input_columns, input_channels; /* input_columns 0: every output pixel reads its own input pixel */
    int32_t kernel_rows, kernel_columns, stride, dilation, pad_left, pad_value;
};

/* One row of a dense convolution. rows[i] is the input row under kernel row i, NULL in the padding; scratch holds one
 * input pixel, and is NULL where there is no padding. */
KERNEL void portable_convolution(const struct portable_convolution *layer, const int8_t *const *rows, int8_t *output,
                                 int8_t *scratch, int32_t output_columns)
{
    const int32_t depth = layer->input_channels;
    for (int32_t channel = 0; scratch != NULL && channel < depth; channel++) {
        scratch[channel] = (int8_t)layer->pad_value;
    }
    for (int32_t column = 0; column < output_columns; column++) {
        const int8_t *weights = layer->weights;
        for (int32_t channel = 0; channel < layer->output_channels; channel++) {
            int32_t sum = layer->bias[channel];
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                for (int32_t j = 0; j < layer->kernel_columns; j++) {
                    const int32_t x = column * layer->stride - layer->pad_left + j * layer->dilation;
                    const int inside = rows[i] != NULL && (layer->input_columns == 0 || (x >= 0 && x < layer->input_columns));
                    const int8_t *const pixel = inside ? rows[i] + x * depth : scratch;
                    for (int32_t k = 0; k < depth; k++) {
                        sum += pixel[k] * weights[k];
                    }
                    weights += depth;
                }
            }
            sum = (layer->round_once ? requantize_once : requantize)(sum, layer->multiplier[channel], layer->shift[channel]);
            const int8_t step = clamp_int8(sum + layer->zero_point, layer->low, layer->high);
            *output++ = layer->table != NULL ? layer->table[step + 128] : step;
        }
    }
}
