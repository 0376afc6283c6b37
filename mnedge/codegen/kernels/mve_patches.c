struct mve_patches {
    struct geometry geometry;
    struct mve_pointwise pointwise; /* over patches of kernel_rows * kernel_columns * input_channels bytes */
};

/* One row of a dense convolution: two patches are gathered, then a 1x1 convolution runs over them.
 * scratch holds them. */
KERNEL void mve_patches(const struct mve_patches *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch)
{
    const struct mve_pointwise *const dense = &layer->pointwise;
    const int32_t bytes = dense->input_channels, channels = dense->output_channels;
    int8_t *const patches = scratch;
    int8_t *const rest = scratch + ((2 * bytes + 7) & ~7);
    struct mve_tile_row row = start_row(dense, patches, channels);
    int32_t column = 0;
    /* Pixels of channels in fours go to their places at once. */
    for (; (channels & 3) == 0 && column + 1 < layer->geometry.output_columns; column += 2) {
        gather(&layer->geometry, rows, column, patches);
        gather(&layer->geometry, rows, column + 1, patches + bytes);
        row.output = output;
        dense->tiles(dense->packed, &row);
        output += 2 * channels;
    }
    for (; column < layer->geometry.output_columns; column += 2) {
        const int32_t count = column + 1 < layer->geometry.output_columns ? 2 : 1;
        for (int32_t i = 0; i < count; i++) {
            gather(&layer->geometry, rows, column + i, patches + i * bytes);
        }
        mve_pointwise(dense, patches, output, count, rest);
        output += count * channels;
    }
}
