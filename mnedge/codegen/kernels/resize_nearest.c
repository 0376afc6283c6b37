struct resize_nearest {
    int32_t input_rows, input_columns, output_rows, output_columns, channels; /* bytes of a pixel */
    const int16_t *rows, *columns; /* the input row and column of each output row and column */
};

KERNEL void resize_nearest(const struct resize_nearest *layer, const int8_t *input, int8_t *output)
{
    for (int32_t row = 0; row < layer->output_rows; row++) {
        for (int32_t column = 0; column < layer->output_columns; column++) {
            const int32_t pixel = layer->rows[row] * layer->input_columns + layer->columns[column];
            for (int32_t channel = 0; channel < layer->channels; channel++) {
                *output++ = input[pixel * layer->channels + channel];
            }
        }
    }
}
