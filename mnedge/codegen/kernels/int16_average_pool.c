/* One row of averages of steps of 16 bits, rounded half away from zero. rows[i] is NULL in the padding, which does not count. */
KERNEL void int16_average_pool(const struct pool *layer, const int8_t *const *rows, void *averages)
{
    int16_t *output = (int16_t *)averages;
    for (int32_t column = 0; column < layer->output_columns; column++) {
        for (int32_t channel = 0; channel < layer->channels; channel++) {
            int32_t sum = 0, count = 0;
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                for (int32_t j = 0; j < layer->kernel_columns; j++) {
                    const int32_t x = column * layer->stride - layer->pad_left + j;
                    if (rows[i] != NULL && x >= 0 && x < layer->input_columns) {
                        sum += ((const int16_t *)(const void *)rows[i])[x * layer->channels + channel];
                        count++;
                    }
                }
            }
            const int32_t mean = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
            *output++ = (int16_t)(mean < layer->low ? layer->low : mean > layer->high ? layer->high : mean);
        }
    }
}
