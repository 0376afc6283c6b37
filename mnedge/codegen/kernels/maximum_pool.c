/* One row of maxima. rows[i] is NULL in the padding, which does not count. */
KERNEL void maximum_pool(const struct pool *layer, const int8_t *const *rows, int8_t *output)
{
    for (int32_t column = 0; column < layer->output_columns; column++) {
        for (int32_t channel = 0; channel < layer->channels; channel++) {
            int32_t best = layer->low;
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                for (int32_t j = 0; j < layer->kernel_columns; j++) {
                    const int32_t x = column * layer->stride - layer->pad_left + j;
                    if (rows[i] != NULL && x >= 0 && x < layer->input_columns) {
                        const int32_t step = rows[i][x * layer->channels + channel];
                        best = step > best ? step : best;
                    }
                }
            }
            *output++ = (int8_t)(best > layer->high ? layer->high : best);
        }
    }
}
