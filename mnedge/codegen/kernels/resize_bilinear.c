struct resize_bilinear {
    int32_t input_rows, input_columns, output_rows, output_columns, channels;
    int32_t row_scale, column_scale, half_pixel; /* scales in 1/1024 */
};

/* Where an output index falls in the input: the two neighbours, and the way to the second in 1/1024. */
struct between {
    int32_t first, second, way;
};

static struct between locate(int32_t index, int32_t scale, int32_t half_pixel, int32_t extent)
{
    const int32_t position = index * scale + (half_pixel ? scale / 2 - 512 : 0);
    struct between place;
    place.first = position >> 10 > 0 ? position >> 10 : 0;
    place.second = (position + 1023) >> 10 < extent - 1 ? (position + 1023) >> 10 : extent - 1;
    place.way = position - 1024 * place.first;
    return place;
}

/* Interpolates in 20 fractional bits, rounded half away from zero. */
#define RESIZE_BILINEAR(name, step_t, sum_t)                                                                        \
KERNEL void name(const struct resize_bilinear *layer, const void *steps, void *results)                             \
{                                                                                                                   \
    const step_t *const input = (const step_t *)steps;                                                              \
    step_t *output = (step_t *)results;                                                                             \
    const int32_t length = layer->input_columns * layer->channels;                                                  \
    for (int32_t row = 0; row < layer->output_rows; row++) {                                                        \
        const struct between y = locate(row, layer->row_scale, layer->half_pixel, layer->input_rows);               \
        for (int32_t column = 0; column < layer->output_columns; column++) {                                        \
            const struct between x = locate(column, layer->column_scale, layer->half_pixel, layer->input_columns);  \
            const step_t *const top = input + y.first * length;                                                     \
            const step_t *const bottom = input + y.second * length;                                                 \
            for (int32_t channel = 0; channel < layer->channels; channel++) {                                       \
                const int32_t left = x.first * layer->channels + channel;                                           \
                const int32_t right = x.second * layer->channels + channel;                                         \
                const sum_t sum = (sum_t)(1024 - y.way) * ((1024 - x.way) * top[left] + x.way * top[right]) +       \
                                  (sum_t)y.way * ((1024 - x.way) * bottom[left] + x.way * bottom[right]);           \
                *output++ = (step_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));                         \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
}
RESIZE_BILINEAR(resize_bilinear_8, int8_t, int32_t)
RESIZE_BILINEAR(resize_bilinear_16, int16_t, int64_t)
