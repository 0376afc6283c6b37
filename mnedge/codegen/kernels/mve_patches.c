struct mve_patches {
    struct geometry geometry;
    struct mve_pointwise pointwise; /* over patches of kernel_rows * kernel_columns * input_channels bytes */
};

/* One row of a dense convolution: two patches are gathered, then a 1x1 convolution runs over them.
 * scratch holds them. */
KERNEL void mve_patches(const struct mve_patches *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch)
{
    const int32_t bytes = layer->pointwise.input_channels;
    int8_t *const patches = scratch;
    int8_t *const rest = scratch + ((2 * bytes + 7) & ~7);
    for (int32_t column = 0; column < layer->geometry.output_columns; column += 2) {
        const int32_t count = column + 1 < layer->geometry.output_columns ? 2 : 1;
        for (int32_t i = 0; i < count; i++) {
            gather(&layer->geometry, rows, column + i, patches + i * bytes);
        }
        mve_pointwise(&layer->pointwise, patches, output, count, rest);
        output += count * layer->pointwise.output_channels;
    }
}
