/* One row of averages, rounded half away from zero once the offset is added. rows[i] is NULL in the padding, which does not count. */
KERNEL void average_pool(const struct pool *layer, const int8_t *const *rows, int8_t *output)
{
    for (int32_t column = 0; column < layer->output_columns; column++) {
        for (int32_t channel = 0; channel < layer->channels; channel++) {
            int32_t sum = 0, count = 0;
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                for (int32_t j = 0; j < layer->kernel_columns; j++) {
                    const int32_t x = column * layer->stride - layer->pad_left + j;
                    if (rows[i] != NULL && x >= 0 && x < layer->input_columns) {
                        sum += rows[i][x * layer->channels + channel];
                        count++;
                    }
                }
            }
            sum += layer->offset * count;
            const int32_t mean = (sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count) - layer->offset;
            *output++ = (int8_t)(mean < layer->low ? layer->low : mean > layer->high ? layer->high : mean);
        }
    }
}
