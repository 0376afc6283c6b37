struct dsp_patches {
    struct geometry geometry;
    struct dsp_pointwise pointwise; /* over patches of kernel_rows * kernel_columns * input_channels bytes, padded */
};

/* One row of a dense convolution: three patches are gathered, then a 1x1 convolution runs over them.
 * scratch holds them. */
KERNEL void dsp_patches(const struct dsp_patches *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch)
{
    const int32_t bytes = layer->pointwise.input_channels;
    int8_t *const patches = scratch;
    int8_t *const wide = scratch + 3 * bytes;
    for (int32_t column = 0; column < layer->geometry.output_columns; column += 3) {
        const int32_t rest = layer->geometry.output_columns - column, count = rest < 3 ? rest : 3;
        for (int32_t i = 0; i < count; i++) {
            gather(&layer->geometry, rows, column + i, patches + i * bytes);
        }
        dsp_pointwise(&layer->pointwise, patches, output, count, wide);
        output += count * layer->pointwise.output_channels;
    }
}
