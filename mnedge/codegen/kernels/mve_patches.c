struct mve_patches {
    struct geometry geometry;
    struct mve_pointwise pointwise; /* over patches of kernel_rows * kernel_columns * input_channels bytes */
};

/* Two windows side by side that lie inside the input; the assembly reads it by offset. */
struct mve_windows {
    int32_t rows, run; /* 0, 4: rows of a window, and bytes of one */
    int32_t bytes;     /* 8: from one patch to the next */
    int32_t step;      /* 12: from one window to the next */
};

/* Copies both windows, of which the first one begins `left` bytes behind the rows. */
#if MVE
__attribute__((naked, noinline)) static void
gather_two(__attribute__((unused)) const int8_t *const *rows, __attribute__((unused)) int32_t left,
           __attribute__((unused)) int8_t *patches, __attribute__((unused)) const struct mve_windows *windows)
{
    __asm__("push {r3-r11, lr}\n\t"
            "ldrd r4, r5, [r3]\n\t"
            "ldrd r6, r7, [r3, #8]\n\t"
            "add r6, r2\n\t"
            "add r7, r1\n\t"
            "cmp r5, #16\n\t"
            "bgt 2f\n\t"
            "vctp.8 r5\n\t"
            "dls lr, r4\n"
            "1:\n\t"
            "ldr r8, [r0], #4\n\t"
            "add r9, r8, r7\n\t"
            "add r8, r1\n\t"
            "vpstttt\n\t"
            "vldrbt.u8 q0, [r8]\n\t"
            "vldrbt.u8 q1, [r9]\n\t"
            "vstrbt.8 q0, [r2]\n\t"
            "vstrbt.8 q1, [r6]\n\t"
            "add r2, r5\n\t"
            "add r6, r5\n\t"
            "le lr, 1b\n\t"
            "pop {r3-r11, pc}\n"
            "2:\n\t"
            "ldr r8, [r0], #4\n\t"
            "mov r10, r2\n\t"
            "mov r11, r6\n\t"
            "add r9, r8, r7\n\t"
            "add r8, r1\n\t"
            "add r2, r5\n\t"
            "add r6, r5\n\t"
            "wlstp.8 lr, r5, 4f\n"
            "3:\n\t"
            "vldrb.u8 q0, [r8], #16\n\t"
            "vldrb.u8 q1, [r9], #16\n\t"
            "vstrb.8 q0, [r10], #16\n\t"
            "vstrb.8 q1, [r11], #16\n\t"
            "letp lr, 3b\n"
            "4:\n\t"
            "subs r4, #1\n\t"
            "bne 2b\n\t"
            "pop {r3-r11, pc}");
}
#else
static void gather_two(const int8_t *const *rows, int32_t left, int8_t *patches, const struct mve_windows *windows)
{
    for (int32_t i = 0; i < windows->rows; i++, patches += windows->run) {
        copy_bytes(rows[i] + left, patches, windows->run);
        copy_bytes(rows[i] + left + windows->step, patches + windows->bytes, windows->run);
    }
}
#endif

/* One row of a dense convolution: two patches are gathered, then a 1x1 convolution runs over them.
 * scratch holds them. */
KERNEL void mve_patches(const struct mve_patches *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch)
{
    const struct geometry *const geometry = &layer->geometry;
    const struct mve_pointwise *const dense = &layer->pointwise;
    const int32_t bytes = dense->input_channels, channels = dense->output_channels;
    const int32_t run = geometry->kernel_columns * geometry->input_channels, step = geometry->stride * geometry->input_channels;
    const struct mve_windows windows = {geometry->kernel_rows, run, bytes, step};
    int8_t *const patches = scratch;
    int8_t *const rest = scratch + ((2 * bytes + 7) & ~7);
    struct mve_tile_row row = start_row(dense, patches, channels);
    int whole = geometry->dilation == 1;
    for (int32_t i = 0; i < geometry->kernel_rows; i++) {
        whole &= rows[i] != NULL;
    }
    /* Of the first column's window. */
    int32_t left = -geometry->pad_left;
    int32_t column = 0;
    /* Pixels of channels in fours go to their places at once. */
    for (; (channels & 3) == 0 && column + 1 < geometry->output_columns; column += 2, left += 2 * geometry->stride) {
        if (whole && left >= 0 && left + geometry->stride + geometry->kernel_columns <= geometry->input_columns) {
            gather_two(rows, left * geometry->input_channels, patches, &windows);
        } else {
            gather(geometry, rows, column, patches);
            gather(geometry, rows, column + 1, patches + bytes);
        }
        row.output = output;
        dense->tiles(dense->packed, &row);
        output += 2 * channels;
    }
    for (; column < geometry->output_columns; column += 2) {
        const int32_t count = column + 1 < geometry->output_columns ? 2 : 1;
        for (int32_t i = 0; i < count; i++) {
            gather(geometry, rows, column + i, patches + i * bytes);
        }
        mve_pointwise(dense, patches, output, count, rest);
        output += count * channels;
    }
}
