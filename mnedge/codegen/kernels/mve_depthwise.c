struct mve_tap_row;
/* Makes some channels of output pixels, block by block. */
typedef void mve_channels(const uint32_t *packed, const struct mve_tap_row *row);

/* Neighbouring channels in blocks of 16 or 8. */
struct mve_part {
    mve_channels *nine_taps, *any_taps; /* for the lanes of a block and how steps are rounded */
    /* For each block its biases with -input_zero_point * sum(weights); for each tap its weights in order; its multipliers;
     * its shifts, -31 … -1, a byte each. Widening takes lanes apart: biases, multipliers and shifts are in the order 0 2 4 6
     * 1 3 5 7 of eight, 0 4 8 12 2 6 10 14 1 5 9 13 3 7 11 15 of 16. */
    const uint32_t *packed;
    int32_t first, blocks, lanes; /* the first channel */
};

struct mve_depthwise {
    struct geometry geometry;
    struct mve_part parts[2]; /* the second one, if there is one, ends with the last channel: both may hold some */
    const int8_t *table;      /* replaces each output step, or NULL */
    int32_t zero_point;
};

/* Output pixels side by side; the assembly below reads it by offset. */
struct mve_tap_row {
    const int8_t *const *taps; /* 0 */
    int32_t count;             /* 4 */
    int32_t zero_point;        /* 8: 128 more with a table */
    const int8_t *table;       /* 12 */
    int8_t *output;            /* 16: of what would be the first byte behind the taps */
    int32_t channels;          /* 20: from one pixel to the next */
    int32_t first;             /* 24: behind the taps, of the first channel */
    int32_t blocks;            /* 28 */
    int32_t input_step;        /* 32: from behind the blocks of one pixel to those of the next */
    int32_t output_step;       /* 36 */
    int32_t pixels;            /* 40 */
};

#if MVE
#define LOAD(pointer, after) "vldrb.s16 q2, [" pointer "]" after "\n\tvldrb.s16 q3, [r7], #8\n\t"
/* Two products of |127 * 128| fit 16 bits. q0 holds even channels, q1 odd ones. */
#define WIDEN_ADD                    \
    "vmovlb.s16 q5, q4\n\t"          \
    "vmovlt.s16 q4, q4\n\t"          \
    "vadd.i32 q0, q0, q5\n\t"        \
    "vadd.i32 q1, q1, q4\n\t"
#define PAIR(first, after_first, between, second, after_second)                     \
    LOAD(first, after_first) "vmul.i16 q4, q2, q3\n\t" between LOAD(second, after_second) \
    "vmul.i16 q5, q2, q3\n\tvadd.i16 q4, q4, q5\n\t" WIDEN_ADD
/* Requantizes, looks up in the table at r0 where there is one, and stores eight steps. */
#define TIES_AWAY_8                    \
    "vshr.s32 q4, q0, #31\n\t"         \
    "vadd.i32 q0, q0, q4\n\t"          \
    "vshr.s32 q5, q1, #31\n\t"         \
    "vadd.i32 q1, q1, q5\n\t"
#define FINISH(tie)                    \
    "vldrw.u32 q2, [r7], #16\n\t"     \
    "vldrw.u32 q3, [r7], #16\n\t"     \
    "vqrdmulh.s32 q0, q0, q2\n\t"      \
    "vqrdmulh.s32 q1, q1, q3\n\t"      \
    tie                                \
    "vldrb.s32 q2, [r7], #4\n\t"      \
    "vldrb.s32 q3, [r7], #4\n\t"      \
    "vrshl.s32 q0, q0, q2\n\t"         \
    "vrshl.s32 q1, q1, q3\n\t"         \
    "vqmovnb.s32 q4, q0\n\t"           \
    "vqmovnt.s32 q4, q1\n\t"           \
    "vqadd.s16 q4, q4, q7\n\t"         \
    "cbz r0, 3f\n\t"                   \
    "vqmovunb.s16 q4, q4\n\t"          \
    "vmovlb.u8 q5, q4\n\t"             \
    "vldrb.u16 q4, [r0, q5]\n\t"       \
    "b 4f\n"                           \
    "3:\n\t"                           \
    "vqmovnb.s16 q4, q4\n"             \
    "4:\n\t"                           \
    "vstrb.16 q4, [r6], #8\n\t"

/* The same of 16 channels: q0 … q3 hold them in the order above, q4 even and q5 odd products. */
#define WIDEN_ADD_16                 \
    "vmovlb.s16 q6, q4\n\t"          \
    "vmovlt.s16 q4, q4\n\t"          \
    "vadd.i32 q0, q0, q6\n\t"        \
    "vadd.i32 q1, q1, q4\n\t"        \
    "vmovlb.s16 q6, q5\n\t"          \
    "vmovlt.s16 q5, q5\n\t"          \
    "vadd.i32 q2, q2, q6\n\t"        \
    "vadd.i32 q3, q3, q5\n\t"
#define ONE_16(pointer, after)                       \
    "vldrb.u8 q6, [" pointer "]" after "\n\t"        \
    "vldrb.u8 q7, [r7], #16\n\t"                     \
    "vmullb.s8 q4, q6, q7\n\t"                       \
    "vmullt.s8 q5, q6, q7\n\t"
/* The second pixel is loaded twice, for want of a register. */
#define PAIR_16(first, after_first, between, second, after_second)  \
    ONE_16(first, after_first) between                              \
    "vldrb.u8 q6, [" second "]\n\t"                                 \
    "vldrb.u8 q7, [r7], #16\n\t"                                    \
    "vmullb.s8 q6, q6, q7\n\t"                                      \
    "vadd.i16 q4, q4, q6\n\t"                                       \
    "vldrb.u8 q6, [" second "]" after_second "\n\t"                 \
    "vmullt.s8 q6, q6, q7\n\t"                                      \
    "vadd.i16 q5, q5, q6\n\t" WIDEN_ADD_16
#define TIES_AWAY_16                   \
    "vshr.s32 q4, q0, #31\n\t"         \
    "vadd.i32 q0, q0, q4\n\t"          \
    "vshr.s32 q5, q1, #31\n\t"         \
    "vadd.i32 q1, q1, q5\n\t"          \
    "vshr.s32 q4, q2, #31\n\t"         \
    "vadd.i32 q2, q2, q4\n\t"          \
    "vshr.s32 q5, q3, #31\n\t"         \
    "vadd.i32 q3, q3, q5\n\t"
#define FOUR_LANES(does, load, by, lanes) load by "\n\t" does lanes ", " lanes ", q4\n\t"
#define MULTIPLY_16(lanes) FOUR_LANES("vqrdmulh.s32 ", "vldrw.u32 q4, [r7], ", "#16", lanes)
#define SHIFT_16(lanes) FOUR_LANES("vrshl.s32 ", "vldrb.s32 q4, [r7], ", "#4", lanes)
#define FINISH_16(tie)                                                                \
    MULTIPLY_16("q0") MULTIPLY_16("q1") MULTIPLY_16("q2") MULTIPLY_16("q3") tie       \
    SHIFT_16("q0") SHIFT_16("q1") SHIFT_16("q2") SHIFT_16("q3")                       \
    "ldr r4, [r10, #8]\n\t"            \
    "vqmovnb.s32 q4, q0\n\t"           \
    "vqmovnt.s32 q4, q1\n\t"           \
    "vqmovnb.s32 q5, q2\n\t"           \
    "vqmovnt.s32 q5, q3\n\t"           \
    "vqadd.s16 q4, q4, r4\n\t"         \
    "vqadd.s16 q5, q5, r4\n\t"         \
    "cbz r0, 3f\n\t"                   \
    "vqmovunb.s16 q4, q4\n\t"          \
    "vqmovunt.s16 q4, q5\n\t"          \
    "vldrb.u8 q6, [r0, q4]\n\t"        \
    "vstrb.8 q6, [r6], #16\n\t"        \
    "b 4f\n"                           \
    "3:\n\t"                           \
    "vqmovnb.s16 q4, q4\n\t"           \
    "vqmovnt.s16 q4, q5\n\t"           \
    "vstrb.8 q4, [r6], #16\n"          \
    "4:\n\t"

#define ENTER                   \
    "push {r0, r4-r11, lr}\n\t" \
    "vpush {d8-d15}\n\t"        \
    "mov r10, r1\n\t"
#define LEAVE              \
    "vpop {d8-d15}\n\t"    \
    "pop {r3-r11, pc}"
/* q7 is the zero point of eight lanes. */
#define ZERO_POINT "ldr r4, [r10, #8]\n\tvdup.16 q7, r4\n\t"
#define BIASES "vldrw.u32 q0, [r7], #16\n\tvldrw.u32 q1, [r7], #16\n\t"
#define BIASES_16 BIASES "vldrw.u32 q2, [r7], #16\n\tvldrw.u32 q3, [r7], #16\n\t"
#define LAST LOAD("r5", "") "vmul.i16 q4, q2, q3\n\t" WIDEN_ADD
#define LAST_16 ONE_16("r5", "") WIDEN_ADD_16

/* Output pixels whose windows of 3 x 3 lie inside the input: r1 r2 r3 are the first taps of the three rows, the others lie
 * r8 and r9 bytes behind them. */
#define NINE_TAPS(name, zero_point, biases, pair, last, after, finish)                                          \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,   \
                                                              __attribute__((unused)) const struct mve_tap_row *row)\
    {                                                                                                           \
        __asm__(ENTER "mov r12, r0\n\t" zero_point                                                              \
                "ldr r0, [r10, #12]\n\t"                                                                        \
                "ldrd r6, r8, [r10, #16]\n\t"                                                                   \
                "lsl r9, r8, #1\n\t"                                                                            \
                "ldr r5, [r10, #24]\n\t"                                                                        \
                "ldr r11, [r10, #40]\n\t"                                                                       \
                "ldr r4, [r10]\n\t"                                                                             \
                "add r6, r5\n\t"                                                                                \
                "ldr r1, [r4]\n\t"                                                                              \
                "add r1, r5\n\t"                                                                                \
                "ldr r2, [r4, #12]\n\t"                                                                         \
                "add r2, r5\n\t"                                                                                \
                "ldr r3, [r4, #24]\n\t"                                                                         \
                "add r3, r5\n"                                                                                  \
                "7:\n\t"                                                                                        \
                "mov r7, r12\n\t"                                                                               \
                "ldr r4, [r10, #28]\n\t"                                                                        \
                "dls lr, r4\n"                                                                                  \
                "1:\n\t" biases                                                                                 \
                "add r4, r1, r8\n\t"                                                                            \
                "add r5, r1, r9\n\t" pair("r1", after, "", "r4", "")                                            \
                "add r4, r2, r8\n\t" pair("r5", "", "add r5, r2, r9\n\t", "r2", after) pair("r4", "", "", "r5", "")\
                "add r4, r3, r8\n\t"                                                                            \
                "add r5, r3, r9\n\t" pair("r3", after, "", "r4", "") last finish                                \
                "le lr, 1b\n\t"                                                                                 \
                "ldrd r4, r5, [r10, #32]\n\t"                                                                   \
                "add r1, r4\n\t"                                                                                \
                "add r2, r4\n\t"                                                                                \
                "add r3, r4\n\t"                                                                                \
                "add r6, r5\n\t"                                                                                \
                "subs r11, #1\n\t"                                                                              \
                "bne 7b\n\t" LEAVE);                                                                            \
    }

/* The same under any windows; r8 walks along the taps, r3 is the channel. */
#define ANY_TAPS(name, zero_point, biases, pair, last, after, finish)                                           \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,   \
                                                              __attribute__((unused)) const struct mve_tap_row *row)\
    {                                                                                                           \
        __asm__(ENTER zero_point                                                                                \
                "ldr r0, [r10, #12]\n\t"                                                                        \
                "ldr r6, [r10, #16]\n\t"                                                                        \
                "ldrd r9, r11, [r10]\n\t"                                                                       \
                "ldr r3, [r10, #24]\n\t"                                                                        \
                "ldr r12, [r10, #40]\n\t"                                                                       \
                "add r6, r3\n"                                                                                  \
                "7:\n\t"                                                                                        \
                "ldr r7, [sp, #64]\n\t"                                                                         \
                "ldr r2, [r10, #28]\n"                                                                          \
                "1:\n\t"                                                                                        \
                "mov r8, r9\n\t"                                                                                \
                "lsr r4, r11, #1\n\t" biases                                                                    \
                "wls lr, r4, 6f\n"                                                                              \
                "2:\n\t"                                                                                        \
                "ldrd r4, r5, [r8], #8\n\t"                                                                     \
                "add r4, r3\n\t"                                                                                \
                "add r5, r3\n\t" pair("r4", "", "", "r5", "")                                                   \
                "le lr, 2b\n"                                                                                   \
                "6:\n\t"                                                                                        \
                "tst r11, #1\n\t"                                                                               \
                "beq 5f\n\t"                                                                                    \
                "ldr r5, [r8]\n\t"                                                                              \
                "add r5, r3\n\t" last                                                                           \
                "5:\n\t" finish                                                                                 \
                "add r3, " after "\n\t"                                                                         \
                "subs r2, #1\n\t"                                                                               \
                "bne 1b\n\t"                                                                                    \
                "ldrd r4, r5, [r10, #32]\n\t"                                                                   \
                "add r3, r4\n\t"                                                                                \
                "add r6, r5\n\t"                                                                                \
                "subs r12, #1\n\t"                                                                              \
                "bne 7b\n\t" LEAVE);                                                                            \
    }
/* _16: of 16 lanes. _up: ties go up, which differs for steps below the zero point alone, and there is none. */
NINE_TAPS(mve_nine_taps, ZERO_POINT, BIASES, PAIR, LAST, ", #8", FINISH(TIES_AWAY_8))
NINE_TAPS(mve_nine_taps_up, ZERO_POINT, BIASES, PAIR, LAST, ", #8", FINISH(""))
NINE_TAPS(mve_nine_taps_16, "", BIASES_16, PAIR_16, LAST_16, ", #16", FINISH_16(TIES_AWAY_16))
NINE_TAPS(mve_nine_taps_16_up, "", BIASES_16, PAIR_16, LAST_16, ", #16", FINISH_16(""))
ANY_TAPS(mve_any_taps, ZERO_POINT, BIASES, PAIR, LAST, "#8", FINISH(TIES_AWAY_8))
ANY_TAPS(mve_any_taps_up, ZERO_POINT, BIASES, PAIR, LAST, "#8", FINISH(""))
ANY_TAPS(mve_any_taps_16, "", BIASES_16, PAIR_16, LAST_16, "#16", FINISH_16(TIES_AWAY_16))
ANY_TAPS(mve_any_taps_16_up, "", BIASES_16, PAIR_16, LAST_16, "#16", FINISH_16(""))
#else
INLINE void tapped(const uint32_t *packed, const struct mve_tap_row *row, int32_t lanes)
{
    const int32_t words = lanes >> 2;
    for (int32_t channel = row->first; channel < row->first + lanes * row->blocks; channel += lanes) {
        const uint32_t *const bias = packed, *const weights = packed + lanes;
        packed = weights + row->count * words;
        for (int32_t i = 0; i < lanes; i++) {
            const int32_t place = lanes == 8 ? (i & 1) * 4 + (i >> 1) : (i & 1) * 8 + (i & 2) * 2 + (i >> 2);
            uint32_t sum = bias[place];
            for (int32_t k = 0; k < row->count; k++) {
                const int8_t weight = (int8_t)(weights[k * words + (i >> 2)] >> 8 * (i & 3) & 0xFFu);
                sum += (uint32_t)(row->taps[k][channel + i] * weight);
            }
            const int32_t shift = (int8_t)(packed[lanes + (place >> 2)] >> 8 * (place & 3) & 0xFFu);
            const int32_t zero_point = row->zero_point - (row->table != NULL ? 128 : 0);
            const int32_t step = requantize_lane((int32_t)sum, (int32_t)packed[place], shift, zero_point);
            row->output[channel + i] = row->table != NULL ? row->table[step + 128] : (int8_t)step;
        }
        packed += lanes + words;
    }
}

INLINE void tapped_pixels(const uint32_t *packed, const struct mve_tap_row *row, int32_t lanes)
{
    struct mve_tap_row one = *row;
    for (int32_t pixel = 0; pixel < row->pixels; pixel++) {
        tapped(packed, &one, lanes);
        one.first += row->input_step + lanes * row->blocks;
        one.output += row->output_step - row->input_step;
    }
}

INLINE void tapped_windows(const uint32_t *packed, const struct mve_tap_row *row, int32_t lanes)
{
    const int8_t *taps[9];
    struct mve_tap_row all = *row;
    all.taps = taps;
    for (int32_t i = 0; i < 9; i++) {
        taps[i] = row->taps[i / 3 * 3] + i % 3 * row->channels;
    }
    tapped_pixels(packed, &all, lanes);
}

#define TAPS(lanes, nine, any)                                                                     \
    KERNEL void nine(const uint32_t *packed, const struct mve_tap_row *row)                        \
    {                                                                                              \
        tapped_windows(packed, row, lanes);                                                        \
    }                                                                                              \
    KERNEL void any(const uint32_t *packed, const struct mve_tap_row *row)                         \
    {                                                                                              \
        tapped_pixels(packed, row, lanes);                                                         \
    }
TAPS(8, mve_nine_taps, mve_any_taps)
TAPS(16, mve_nine_taps_16, mve_any_taps_16)
#define mve_nine_taps_up mve_nine_taps
#define mve_any_taps_up mve_any_taps
#define mve_nine_taps_16_up mve_nine_taps_16
#define mve_any_taps_16_up mve_any_taps_16
#endif

/* One row of a depthwise convolution, block by block of channels. rows[i] is NULL in the padding; scratch holds one
 * input pixel, taps a pointer a tap. */
KERNEL void mve_depthwise(const struct mve_depthwise *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch,
                          const int8_t **taps)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns, channels = geometry->input_channels;
    struct mve_tap_row row = {taps, count, layer->zero_point + (layer->table != NULL ? 128 : 0), layer->table, output, channels, 0,
                              0, 0, 0, 1};
    fill_pixel(scratch, channels, geometry->pad_value);
    const int whole = all_rows_are_there(geometry, rows);
    const int nine = count == 9 && geometry->kernel_rows == 3 && geometry->dilation == 1;
    for (int32_t column = 0; column < geometry->output_columns;) {
        const int32_t left = column * geometry->stride - geometry->pad_left;
        const int32_t room = geometry->input_columns - 1 - left - (geometry->kernel_columns - 1) * geometry->dilation;
        const int inside = whole && left >= 0 && room >= 0;
        row.pixels = 1;
        if (inside) {
            const int32_t most = geometry->output_columns - column, fitting = room / geometry->stride + 1;
            row.pixels = fitting < most ? fitting : most;
        }
        if (inside && nine) {
            for (int32_t i = 0; i < 3; i++) {
                taps[3 * i] = rows[i] + left * channels;
            }
        } else {
            move_taps(geometry, rows, column, scratch, taps);
        }
        row.output = output;
        for (const struct mve_part *part = layer->parts; part != layer->parts + 2 && part->blocks != 0; part++) {
            row.first = part->first;
            row.blocks = part->blocks;
            row.input_step = geometry->stride * channels - part->lanes * part->blocks;
            row.output_step = channels - part->lanes * part->blocks;
            (inside && nine ? part->nine_taps : part->any_taps)(part->packed, &row);
        }
        column += row.pixels;
        output += row.pixels * channels;
    }
}
