/* Copies bytes, a word at a time where the compiler knows how. */
INLINE void copy_bytes(const int8_t *from, int8_t *to, int32_t count)
{
    for (; count >= 4; count -= 4, from += 4, to += 4) {
#if defined(__GNUC__)
        __builtin_memcpy(to, from, 4);
#else
        to[0] = from[0], to[1] = from[1], to[2] = from[2], to[3] = from[3];
#endif
    }
    if ((count & 2) != 0) {
        to[0] = from[0], to[1] = from[1];
        from += 2, to += 2;
    }
    if ((count & 1) != 0) {
        to[0] = from[0];
    }
}

/* Gathers the window under one output column into a row of bytes; rows[i] is NULL in the padding. */
KERNEL void gather(const struct geometry *layer, const int8_t *const *rows, int32_t column, int8_t *patch)
{
    const int32_t depth = layer->input_channels;
    const int32_t left = column * layer->stride - layer->pad_left;
    const int32_t right = left + (layer->kernel_columns - 1) * layer->dilation;
    const int32_t run = layer->kernel_columns * depth;
    const int whole = layer->dilation == 1 && left >= 0 && right < layer->input_columns;
    for (int32_t i = 0; i < layer->kernel_rows; i++) {
        if (whole && rows[i] != NULL) {
            copy_bytes(rows[i] + left * depth, patch, run);
            patch += run;
            continue;
        }
        for (int32_t j = 0; j < layer->kernel_columns; j++, patch += depth) {
            const int32_t x = left + j * layer->dilation;
            if (rows[i] != NULL && x >= 0 && x < layer->input_columns) {
                copy_bytes(rows[i] + x * depth, patch, depth);
            } else {
                for (int32_t k = 0; k < depth; k++) {
                    patch[k] = (int8_t)layer->pad_value;
                }
            }
        }
    }
}
