struct shallow_row;
/* Makes four output channels of a run of pixels. */
typedef void mve_shallow_four(const uint32_t *packed, const int8_t *input, int8_t *output, const struct shallow_row *row);

struct mve_shallow {
    /* For each four output channels: 16 weights of each, 0 behind the last input channel; four biases with
     * -input_zero_point * sum(weights); four multipliers; four shifts, -31 … -1, a byte each. */
    const uint32_t *packed;
    mve_shallow_four *tile; /* for how steps are rounded, and whether a table replaces them */
    const int8_t *table;    /* replaces each output step, or NULL */
    int32_t input_channels, output_channels, zero_point;
};

/* A run of pixels; the assembly below reads it by offset. */
struct shallow_row {
    int32_t input_channels, output_channels; /* 0, 4 */
    int32_t pixels;                          /* 8 */
    int32_t zero_point;                      /* 12: 128 more with a table */
    const int8_t *table;                     /* 16 */
};

#if MVE
/* The weights stay in q4 … q7. */
#define SHALLOW(name, load, tie, narrow)                                                                             \
    __attribute__((naked, noinline, unused)) static void name(                                                  \
        __attribute__((unused)) const uint32_t *packed, __attribute__((unused)) const int8_t *input,            \
        __attribute__((unused)) int8_t *output, __attribute__((unused)) const struct shallow_row *row)          \
    {                                                                                                           \
        __asm__("push {r3-r11, lr}\n\t"                                                                         \
                "vpush {d8-d15}\n\t"                                                                            \
                "vldrw.u32 q4, [r0], #16\n\t"                                                                   \
                "vldrw.u32 q5, [r0], #16\n\t"                                                                   \
                "vldrw.u32 q6, [r0], #16\n\t"                                                                   \
                "vldrw.u32 q7, [r0], #16\n\t"                                                                   \
                "mov r8, r0\n\t"                                                                                \
                "vldrw.u32 q2, [r8, #16]\n\t"                                                                   \
                "add r0, #32\n\t"                                                                               \
                "vldrb.s32 q3, [r0]\n\t"                                                                        \
                "ldrd r5, r7, [r3]\n\t"                                                                         \
                "ldrd r12, r9, [r3, #8]\n\t"                                                                    \
                "ldr r10, [r3, #16]\n\t"                                                                        \
                "mov r3, r2\n\t"                                                                                \
                "vctp.8 r5\n\t"                                                                                 \
                "dls lr, r12\n"                                                                                 \
                "1:\n\t"                                                                                        \
                load                                                                                            \
                "vmladav.s8 r0, q0, q4\n\t"                                                                     \
                "vmladav.s8 r2, q0, q5\n\t"                                                                     \
                "vmladav.s8 r4, q0, q6\n\t"                                                                     \
                "vmladav.s8 r6, q0, q7\n\t"                                                                     \
                "vldrw.u32 q0, [r8]\n\t"                                                                        \
                "vmov q1[2], q1[0], r0, r4\n\t"                                                                 \
                "vmov q1[3], q1[1], r2, r6\n\t"                                                                 \
                "vadd.i32 q1, q1, q0\n\t"                                                                       \
                "vqrdmulh.s32 q1, q1, q2\n\t" tie                                                               \
                "vrshl.s32 q1, q1, q3\n\t"                                                                      \
                "vqadd.s32 q1, q1, r9\n\t"                                                                      \
                "vqmovnb.s32 q1, q1\n\t" narrow                                                                 \
                "vstrb.32 q1, [r3]\n\t"                                                                         \
                "add r3, r7\n\t"                                                                                \
                "le lr, 1b\n\t"                                                                                 \
                "vpop {d8-d15}\n\t"                                                                             \
                "pop {r3-r11, pc}");                                                                            \
    }
#define SHALLOW_TIES             \
    "vshr.s32 q0, q1, #31\n\t"   \
    "vadd.i32 q1, q1, q0\n\t"
#define SHALLOW_NARROW "vqmovnb.s16 q1, q1\n\t"
#define SHALLOW_TABLE            \
    "vqmovunb.s16 q1, q1\n\t"    \
    "vmovlb.u8 q1, q1\n\t"       \
    "vmovlb.u16 q1, q1\n\t"      \
    "vldrb.u32 q0, [r10, q1]\n\t" \
    "vmov q1, q0\n\t"
#define SHALLOW_SOME "vpst\n\tvldrbt.u8 q0, [r1]\n\tadd r1, r5\n\t"
#define SHALLOW_ALL "vldrb.u8 q0, [r1], #16\n\t"
/* _up: ties go up, which differs for steps below the zero point alone, and there is none. _16: of 16 channels. */
SHALLOW(mve_shallow_tile, SHALLOW_SOME, SHALLOW_TIES, SHALLOW_NARROW)
SHALLOW(mve_shallow_tile_up, SHALLOW_SOME, "", SHALLOW_NARROW)
SHALLOW(mve_shallow_tile_table, SHALLOW_SOME, SHALLOW_TIES, SHALLOW_TABLE)
SHALLOW(mve_shallow_tile_table_up, SHALLOW_SOME, "", SHALLOW_TABLE)
SHALLOW(mve_shallow_tile_16, SHALLOW_ALL, SHALLOW_TIES, SHALLOW_NARROW)
SHALLOW(mve_shallow_tile_16_up, SHALLOW_ALL, "", SHALLOW_NARROW)
SHALLOW(mve_shallow_tile_16_table, SHALLOW_ALL, SHALLOW_TIES, SHALLOW_TABLE)
SHALLOW(mve_shallow_tile_16_table_up, SHALLOW_ALL, "", SHALLOW_TABLE)
#else
KERNEL void mve_shallow_tile(const uint32_t *packed, const int8_t *input, int8_t *output, const struct shallow_row *row)
{
    for (int32_t pixel = 0; pixel < row->pixels; pixel++, input += row->input_channels, output += row->output_channels) {
        for (int32_t i = 0; i < 4; i++) {
            uint32_t sum = packed[16 + i];
            for (int32_t k = 0; k < row->input_channels; k++) {
                sum += (uint32_t)(input[k] * (int8_t)(packed[4 * i + (k >> 2)] >> 8 * (k & 3) & 0xFFu));
            }
            const int32_t shift = (int8_t)(packed[24] >> 8 * i & 0xFFu);
            const int32_t zero_point = row->zero_point - (row->table != NULL ? 128 : 0);
            const int32_t step = requantize_lane((int32_t)sum, (int32_t)packed[20 + i], shift, zero_point);
            output[i] = row->table != NULL ? row->table[step + 128] : (int8_t)step;
        }
    }
}

#define mve_shallow_tile_up mve_shallow_tile
#define mve_shallow_tile_table mve_shallow_tile
#define mve_shallow_tile_table_up mve_shallow_tile
#define mve_shallow_tile_16 mve_shallow_tile
#define mve_shallow_tile_16_up mve_shallow_tile
#define mve_shallow_tile_16_table mve_shallow_tile
#define mve_shallow_tile_16_table_up mve_shallow_tile
#endif

/* A dense 1x1 convolution of a run of pixels of at most 16 channels, four output channels at a time: those of all pixels
 * before the next, so that the output may not take the place of the input. */
KERNEL void mve_shallow(const struct mve_shallow *layer, const int8_t *input, int8_t *output, int32_t pixels)
{
    const struct shallow_row row = {layer->input_channels, layer->output_channels, pixels,
                                    layer->zero_point + (layer->table != NULL ? 128 : 0), layer->table};
    const uint32_t *packed = layer->packed;
    for (int32_t channel = 0; channel < layer->output_channels; channel += 4, packed += 25) {
        layer->tile(packed, input, output + channel, &row);
    }
}
