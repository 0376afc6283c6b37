/* Fills a pixel of padding, a word at a time where the compiler knows how. */
INLINE void fill_pixel(int8_t *pixel, int32_t channels, int32_t value)
{
#if defined(__GNUC__)
    const uint32_t word = (uint32_t)(uint8_t)value * 0x01010101u;
    for (; channels >= 4; channels -= 4, pixel += 4) {
        __builtin_memcpy(pixel, &word, 4);
    }
#endif
    for (; channels > 0; channels--) {
        *pixel++ = (int8_t)value;
    }
}

/* Points taps at the input pixels under one output column; pad stands in for pixels outside. Columns come in order:
 * where the column before and this one lie inside the input, all taps move on together. */
INLINE void move_taps(const struct geometry *layer, const int8_t *const *rows, int32_t column, const int8_t *pad,
                      const int8_t **taps)
{
    const int32_t left = column * layer->stride - layer->pad_left;
    const int32_t right = left + (layer->kernel_columns - 1) * layer->dilation;
    if (left >= layer->stride && column > 0 && right < layer->input_columns) {
        const int32_t step = layer->stride * layer->input_channels;
        for (int32_t i = 0; i < layer->kernel_rows; i++) {
            for (int32_t j = 0; j < layer->kernel_columns; j++, taps++) {
                *taps += rows[i] != NULL ? step : 0;
            }
        }
        return;
    }
    for (int32_t i = 0; i < layer->kernel_rows; i++) {
        for (int32_t j = 0; j < layer->kernel_columns; j++) {
            const int32_t x = left + j * layer->dilation;
            *taps++ = rows[i] != NULL && x >= 0 && x < layer->input_columns ? rows[i] + x * layer->input_channels : pad;
        }
    }
}

/* Whether no row under the window lies in the padding. */
INLINE int all_rows_are_there(const struct geometry *layer, const int8_t *const *rows)
{
    int there = 1;
    for (int32_t i = 0; i < layer->kernel_rows; i++) {
        there &= rows[i] != NULL;
    }
    return there;
}
