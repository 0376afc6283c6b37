/* A pixel under way; the assembly below reads it by offset. */
struct mve_int4_row {
    const int8_t *input;        /* 0 */
    int32_t depth;              /* 4 */
    int8_t *output;             /* 8 */
    const uint32_t *packed_end; /* 12 */
    int32_t zero_point;         /* 16: 128 more with a table */
    const int8_t *table;        /* 20 */
    int32_t surplus;            /* 24: what weights that are 8 too large add to each sum */
};

#if MVE
/* Two output channels at 16 input channels: 16 bytes have the weights of one in their low halves, those of the other in the
 * high ones, each plus 8. */
#define TWO_OUTPUTS(first, second)              \
    "vldrb.u8 q1, [r7], #16\n\t"                \
    "vshr.u8 q2, q1, #4\n\t"                    \
    "vand q1, q1, q3\n\t"                       \
    "vmladava.s8 " first ", q0, q1\n\t"         \
    "vmladava.s8 " second ", q0, q2\n\t"

/* All output channels of a pixel, four by four. Sums are in r0 r2 r4 r6; r7 walks along the weights, r3 along the pixel; r1 is
 * the table, r10 the surplus, r11 the row. */
__attribute__((naked, noinline, unused)) static void mve_int4_pixel(__attribute__((unused)) const uint32_t *packed,
                                                                    __attribute__((unused)) struct mve_int4_row *row)
{
    __asm__("push {r3-r11, lr}\n\t"
            "mov r7, r0\n\t"
            "mov r11, r1\n\t"
            "ldrd r1, r10, [r11, #20]\n\t"
            "vmov.i8 q3, #15\n"
            "1:\n\t"
            "ldrd r3, r9, [r11]\n\t"
            "ldrd r0, r2, [r7], #8\n\t"
            "ldrd r4, r6, [r7], #8\n\t"
            "sub r0, r0, r10\n\t"
            "sub r2, r2, r10\n\t"
            "sub r4, r4, r10\n\t"
            "sub r6, r6, r10\n\t"
            "dlstp.8 lr, r9\n"
            "2:\n\t"
            "vldrb.u8 q0, [r3], #16\n\t" TWO_OUTPUTS("r0", "r2") TWO_OUTPUTS("r4", "r6")
            "letp lr, 2b\n\t"
            "vmov q0[2], q0[0], r0, r4\n\t"
            "vmov q0[3], q0[1], r2, r6\n\t"
            "vldrw.u32 q1, [r7], #16\n\t"
            "vldrb.s32 q2, [r7], #4\n\t"
            "vqdmulh.s32 q0, q0, q1\n\t"
            "vrshl.s32 q0, q0, q2\n\t"
            "ldr r9, [r11, #16]\n\t"
            "vqmovnb.s32 q0, q0\n\t"
            "vdup.16 q1, r9\n\t"
            "vqadd.s16 q0, q0, q1\n\t"
            "cmp r1, #0\n\t"
            "beq 3f\n\t"
            "vqmovunb.s16 q0, q0\n\t"
            "vmovlb.u8 q0, q0\n\t"
            "vmovlb.u16 q1, q0\n\t"
            "vldrb.u32 q0, [r1, q1]\n\t"
            "b 4f\n"
            "3:\n\t"
            "vqmovnb.s16 q0, q0\n"
            "4:\n\t"
            "ldrd r5, r8, [r11, #8]\n\t"
            "vstrb.32 q0, [r5], #4\n\t"
            "str r5, [r11, #8]\n\t"
            "cmp r7, r8\n\t"
            "bne 1b\n\t"
            "pop {r3-r11, pc}");
}
#else
KERNEL void mve_int4_pixel(const uint32_t *packed, struct mve_int4_row *row)
{
    const int32_t words = (row->depth + 15) / 16 * 8;
    for (; packed != row->packed_end; packed += 9 + words, row->output += 4) {
        const uint32_t *const weights = packed + 4, *const tail = weights + words;
        for (int32_t i = 0; i < 4; i++) {
            uint32_t sum = packed[i] - (uint32_t)row->surplus;
            for (int32_t k = 0; k < row->depth; k++) {
                const int32_t byte = (k >> 4) * 32 + (i >> 1) * 16 + (k & 15);
                sum += (uint32_t)(row->input[k] * (int32_t)(weights[byte >> 2] >> (8 * (byte & 3) + 4 * (i & 1)) & 15u));
            }
            const int32_t shift = (int8_t)(tail[4] >> 8 * i & 0xFFu), zero_point = row->zero_point - (row->table != NULL ? 128 : 0);
            const int32_t step = requantize_lane_once((int32_t)sum, (int32_t)tail[i], shift, zero_point);
            row->output[i] = row->table != NULL ? row->table[step + 128] : (int8_t)step;
        }
    }
}
#endif

/* mve_pointwise with weights of 4 bits, which rounds once, a pixel at a time. */
KERNEL void mve_int4(const struct mve_pointwise *layer, const int8_t *input, int8_t *output, int32_t pixels, int8_t *scratch)
{
    const int32_t depth = layer->input_channels, channels = layer->output_channels;
    for (; pixels > 0; pixels--, input += depth, output += channels) {
        struct mve_int4_row row = {input, depth, channels & 3 ? scratch : output, layer->packed_end,
                                   layer->zero_point + (layer->table != NULL ? 128 : 0), layer->table, 0};
        for (int32_t k = 0; k < depth; k++) {
            row.surplus += 8 * input[k];
        }
        mve_int4_pixel(layer->packed, &row);
        for (int32_t i = 0; i < channels && channels & 3; i++) {
            output[i] = scratch[i];
        }
    }
}
