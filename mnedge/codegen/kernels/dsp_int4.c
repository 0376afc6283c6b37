/* A widened pixel under way; the assembly below reads it by offset. */
struct dsp_int4_row {
    struct dsp_tile_row tile;
    int32_t surplus; /* 24: what weights that are 8 too large add to each sum */
};

#if DSP
/* Four input channels of two output channels: a word has the weights of one in the low halves of its bytes, those of the other
 * in the high ones, each plus 8. r4: a mask of the low halves of every other byte. */
#define FOUR_INPUTS                             \
    "ldr r11, [r0], #4\n\t"                     \
    "ldrd r12, lr, [r1], #8\n\t"                \
    "and r8, r4, r11\n\t"                       \
    "and r9, r4, r11, lsr #4\n\t"               \
    "and r10, r4, r11, lsr #8\n\t"              \
    "and r11, r4, r11, lsr #12\n\t"             \
    "smlad r2, r8, r12, r2\n\t"                 \
    "smlad r3, r9, r12, r3\n\t"                 \
    "smlad r2, r10, lr, r2\n\t"                 \
    "smlad r3, r11, lr, r3\n\t"

/* All output channels of a widened pixel, two by two. Sums are in r2 r3; r0 walks along the weights, r1 along the pixel, which
 * ends at r6; r5 is the surplus, r7 the row. */
__attribute__((naked, noinline, unused)) static void dsp_int4_pixel(__attribute__((unused)) const uint32_t *packed,
                                                                    __attribute__((unused)) struct dsp_int4_row *row,
                                                                    __attribute__((unused)) const int16_t *wide_end)
{
    __asm__("push {r3-r11, lr}\n\t"
            "mov r7, r1\n\t"
            "mov r6, r2\n\t"
            "mov r4, #0x000F000F\n\t"
            "ldr r5, [r7, #24]\n"
            "1:\n\t"
            "ldr r1, [r7, #16]\n\t"
            "ldrd r2, r3, [r0], #8\n\t"
            "sub r2, r2, r5\n\t"
            "sub r3, r3, r5\n"
            "2:\n\t" FOUR_INPUTS FOUR_INPUTS
            "cmp r1, r6\n\t"
            "bne 2b\n\t" ONE_ONCE
            "cmp lr, #0\n\t"
            "beq 3f\n\t" LOOK_UP("r2", "r3")
            "3:\n\t"
            "ldr r8, [r7, #8]\n\t"
            "ldr r10, [r7, #20]\n\t"
            "bfi r2, r3, #8, #8\n\t"
            "strh r2, [r8], #2\n\t"
            "str r8, [r7, #8]\n\t"
            "cmp r0, r10\n\t"
            "bne 1b\n\t"
            "pop {r3-r11, pc}");
}
#else
KERNEL void dsp_int4_pixel(const uint32_t *packed, struct dsp_int4_row *row, const int16_t *wide_end)
{
    const int16_t *const wide = row->tile.wide;
    const int32_t depth = (int32_t)(wide_end - wide);
    for (; packed != row->tile.packed_end; packed += 6 + depth / 4, row->tile.output += 2) {
        const uint32_t *const weights = packed + 2, *const tail = weights + depth / 4;
        for (int32_t i = 0; i < 2; i++) {
            uint32_t sum = packed[i] - (uint32_t)row->surplus;
            for (int32_t k = 0; k < depth; k++) {
                const int32_t weight = (int32_t)(weights[k >> 2] >> (8 * (k & 3) + 4 * i) & 15u);
                sum += (uint32_t)(weight * wide[(k & ~3) | (k & 1) << 1 | (k >> 1 & 1)]);
            }
            const int32_t step = requantize_once_doubled((int32_t)sum, (int32_t)tail[i], (int32_t)tail[2 + i],
                                                         row->tile.zero_point);
            row->tile.output[i] = row->tile.table != NULL ? row->tile.table[step] : (int8_t)step;
        }
    }
}
#endif

/* dsp_pointwise with weights of 4 bits, which rounds once. */
KERNEL void dsp_int4(const struct dsp_pointwise *layer, const int8_t *input, int8_t *output, int32_t pixels, int8_t *scratch)
{
    const int32_t depth = layer->depth, channels = layer->output_channels;
    int16_t *const wide = (int16_t *)(void *)scratch;
    int8_t *const spare = scratch + 2 * depth;
    for (; pixels > 0; pixels--, input += layer->input_channels, output += channels) {
        struct dsp_int4_row row = {{layer->zero_point, layer->table != NULL ? layer->table + 128 : NULL,
                                    channels & 1 ? spare : output, 0, wide, layer->packed_end}, 0};
        widen(input, wide, layer->input_channels, depth, 1, layer->times);
        for (int32_t k = 0; k < depth; k++) {
            row.surplus += 8 * wide[k];
        }
        dsp_int4_pixel(layer->packed, &row, wide + depth);
        for (int32_t i = 0; i < channels && channels & 1; i++) {
            output[i] = spare[i];
        }
    }
}
