/* One row of maxima of steps of 16 bits. rows[i] is NULL in the padding, all of whose steps are pad_step. */
KERNEL void int16_maximum_pool(const struct pool *layer, const int8_t *const *rows, void *maxima)
{
    int16_t *output = (int16_t *)maxima;
    for (int32_t column = 0; column < layer->output_columns; column++) {
        for (int32_t channel = 0; channel < layer->channels; channel++) {
            int32_t most = layer->low;
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                for (int32_t j = 0; j < layer->kernel_columns; j++) {
                    const int32_t x = column * layer->stride - layer->pad_left + j;
                    if (rows[i] != NULL && x >= 0 && x < layer->input_columns) {
                        const int32_t step = ((const int16_t *)(const void *)rows[i])[x * layer->channels + channel];
                        most = step > most ? step : most;
                    } else {
                        most = layer->pad_step > most ? layer->pad_step : most;
                    }
                }
            }
            *output++ = (int16_t)(most > layer->high ? layer->high : most);
        }
    }
}
