struct dsp_patches {
    struct geometry geometry;
    struct dsp_pointwise pointwise; /* over patches of kernel_rows * kernel_columns * input_channels bytes, padded */
};

/* Copies a window that lies `left` bytes behind the rows, a word at a time: up to three bytes more are read and written. */
INLINE void gather_words(const int8_t *const *rows, int32_t count, int32_t left, int32_t run, int8_t *patch)
{
    for (int32_t i = 0; i < count; i++, patch += run) {
        const int8_t *const from = rows[i] + left;
        for (int32_t k = 0; k < run; k += 4) {
#if defined(__GNUC__)
            __builtin_memcpy(patch + k, from + k, 4);
#else
            patch[k] = from[k], patch[k + 1] = from[k + 1], patch[k + 2] = from[k + 2], patch[k + 3] = from[k + 3];
#endif
        }
    }
}

/* One row of a dense convolution: three patches are gathered, then a 1x1 convolution runs over them.
 * scratch holds them. */
KERNEL void dsp_patches(const struct dsp_patches *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t bytes = layer->pointwise.input_channels, depth = geometry->input_channels;
    const int32_t run = geometry->kernel_columns * depth;
    int8_t *const patches = scratch;
    int8_t *const wide = scratch + 3 * bytes;
    int whole = geometry->dilation == 1;
    for (int32_t i = 0; i < geometry->kernel_rows; i++) {
        whole &= rows[i] != NULL;
    }
    /* The last place in a row behind which there are a window and three bytes. */
    const int32_t most = whole ? geometry->input_columns * depth - run - 3 : -1;
    for (int32_t column = 0; column < geometry->output_columns; column += 3) {
        const int32_t rest = geometry->output_columns - column, count = rest < 3 ? rest : 3;
        int32_t left = (column * geometry->stride - geometry->pad_left) * depth;
        for (int32_t i = 0; i < count; i++, left += geometry->stride * depth) {
            /* What is written too much lies where the next patch, or the widened ones, come later. */
            if (left >= 0 && left <= most) {
                gather_words(rows, geometry->kernel_rows, left, run, patches + i * bytes);
            } else {
                gather(geometry, rows, column + i, patches + i * bytes);
            }
        }
        dsp_pointwise(&layer->pointwise, patches, output, count, wide);
        output += count * layer->pointwise.output_channels;
    }
}
