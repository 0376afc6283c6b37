struct mve_tap_row;
/* Makes some channels of output pixels, eight by eight. */
typedef void mve_channels(const uint32_t *packed, const struct mve_tap_row *row);

struct mve_depthwise {
    struct geometry geometry;
    /* For each eight channels, of which the last eight may be partly the ones before, too, the even ones before the odd
     * ones: eight biases with -input_zero_point * sum(weights);
     * for each tap eight weights in order; eight multipliers; eight shifts, -31 … -1, a byte each. */
    const uint32_t *packed;
    mve_channels *nine_taps, *any_taps; /* for how steps are rounded */
    const int8_t *table;                /* replaces each output step, or NULL */
    int32_t zero_point;
};

/* Output pixels under way; the assembly below reads it by offset. */
struct mve_tap_row {
    const int8_t *const *taps; /* 0 */
    int32_t count;             /* 4 */
    int32_t zero_point;        /* 8: 128 more with a table */
    const int8_t *table;       /* 12 */
    int8_t *output;            /* 16: of what would be the first byte behind the taps */
    int32_t channels;          /* 20: from one pixel to the next */
    int32_t first;             /* 24: behind the taps, of the first channel */
    int32_t blocks;            /* 28: of eight channels */
    int32_t input_step;        /* 32: from behind the blocks of one pixel to those of the next */
    int32_t output_step;       /* 36 */
    int32_t pixels;            /* 40: side by side, of nine taps alone */
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

/* All channels of output pixels side by side whose windows of 3 x 3 lie inside the input, eight by eight: r1 r2 r3 are the
 * first taps of the three rows, the others lie r8 and r9 bytes behind them. */
#define NINE_TAPS(name, tie)                                                                                    \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,   \
                                                              __attribute__((unused)) const struct mve_tap_row *row)\
    {                                                                                                           \
        __asm__("push {r3-r11, lr}\n\t"                                                                         \
                "vpush {d8-d15}\n\t"                                                                            \
                "mov r12, r0\n\t"                                                                               \
                "mov r10, r1\n\t"                                                                               \
                "ldrd r2, r0, [r1, #8]\n\t"                                                                     \
                "vdup.16 q7, r2\n\t"                                                                            \
                "ldrd r6, r8, [r1, #16]\n\t"                                                                    \
                "lsl r9, r8, #1\n\t"                                                                            \
                "ldr r5, [r1, #24]\n\t"                                                                         \
                "ldr r11, [r1, #40]\n\t"                                                                        \
                "ldr r4, [r1]\n\t"                                                                              \
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
                "1:\n\t"                                                                                        \
                "vldrw.u32 q0, [r7], #16\n\t"                                                                   \
                "vldrw.u32 q1, [r7], #16\n\t"                                                                   \
                "add r4, r1, r8\n\t"                                                                            \
                "add r5, r1, r9\n\t" PAIR("r1", ", #8", "", "r4", "")                                           \
                "add r4, r2, r8\n\t" PAIR("r5", "", "add r5, r2, r9\n\t", "r2", ", #8") PAIR("r4", "", "", "r5", "")\
                "add r4, r3, r8\n\t"                                                                            \
                "add r5, r3, r9\n\t" PAIR("r3", ", #8", "", "r4", "")                                           \
                LOAD("r5", "") "vmul.i16 q4, q2, q3\n\t" WIDEN_ADD FINISH(tie)                                  \
                "le lr, 1b\n\t"                                                                                 \
                "ldrd r4, r5, [r10, #32]\n\t"                                                                   \
                "add r1, r4\n\t"                                                                                \
                "add r2, r4\n\t"                                                                                \
                "add r3, r4\n\t"                                                                                \
                "add r6, r5\n\t"                                                                                \
                "subs r11, #1\n\t"                                                                              \
                "bne 7b\n\t"                                                                                    \
                "vpop {d8-d15}\n\t"                                                                             \
                "pop {r3-r11, pc}");                                                                            \
    }

/* The same of one pixel under any window; r8 walks along the taps, r3 is the channel. */
#define ANY_TAPS(name, tie)                                                                                     \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,   \
                                                              __attribute__((unused)) const struct mve_tap_row *row)\
    {                                                                                                           \
        __asm__("push {r3-r11, lr}\n\t"                                                                         \
                "vpush {d8-d15}\n\t"                                                                            \
                "mov r7, r0\n\t"                                                                                \
                "ldrd r2, r0, [r1, #8]\n\t"                                                                     \
                "vdup.16 q7, r2\n\t"                                                                            \
                "ldr r6, [r1, #16]\n\t"                                                                         \
                "ldrd r9, r11, [r1]\n\t"                                                                        \
                "lsr r10, r11, #1\n\t"                                                                          \
                "ldrd r3, r2, [r1, #24]\n\t"                                                                    \
                "add r6, r3\n\t"                                                                                \
                "add r2, r3, r2, lsl #3\n"                                                                      \
                "1:\n\t"                                                                                        \
                "mov r8, r9\n\t"                                                                                \
                "vldrw.u32 q0, [r7], #16\n\t"                                                                   \
                "vldrw.u32 q1, [r7], #16\n\t"                                                                   \
                "wls lr, r10, 6f\n"                                                                             \
                "2:\n\t"                                                                                        \
                "ldrd r4, r5, [r8], #8\n\t"                                                                     \
                "add r4, r3\n\t"                                                                                \
                "add r5, r3\n\t" PAIR("r4", "", "", "r5", "")                                                   \
                "le lr, 2b\n"                                                                                   \
                "6:\n\t"                                                                                        \
                "tst r11, #1\n\t"                                                                               \
                "beq 5f\n\t"                                                                                    \
                "ldr r4, [r8]\n\t"                                                                              \
                "add r4, r3\n\t" LOAD("r4", "") "vmul.i16 q4, q2, q3\n\t" WIDEN_ADD                             \
                "5:\n\t" FINISH(tie)                                                                            \
                "add r3, #8\n\t"                                                                                \
                "cmp r3, r2\n\t"                                                                                \
                "bne 1b\n\t"                                                                                    \
                "vpop {d8-d15}\n\t"                                                                             \
                "pop {r3-r11, pc}");                                                                            \
    }
/* _up: ties go up, which differs for steps below the zero point alone, and there is none. */
NINE_TAPS(mve_nine_taps, TIES_AWAY_8)
NINE_TAPS(mve_nine_taps_up, "")
ANY_TAPS(mve_any_taps, TIES_AWAY_8)
ANY_TAPS(mve_any_taps_up, "")
#else
KERNEL void mve_any_taps(const uint32_t *packed, const struct mve_tap_row *row)
{
    for (int32_t channel = row->first; channel < row->first + 8 * row->blocks; channel += 8) {
        const uint32_t *const bias = packed, *const weights = packed + 8;
        packed = weights + row->count * 2;
        for (int32_t i = 0; i < 8; i++) {
            const int32_t place = (i & 1) * 4 + (i >> 1);
            uint32_t sum = bias[place];
            for (int32_t k = 0; k < row->count; k++) {
                const int8_t weight = (int8_t)(weights[k * 2 + (i >> 2)] >> 8 * (i & 3) & 0xFFu);
                sum += (uint32_t)(row->taps[k][channel + i] * weight);
            }
            const int32_t shift = (int8_t)(packed[8 + (place >> 2)] >> 8 * (place & 3) & 0xFFu);
            const int32_t zero_point = row->zero_point - (row->table != NULL ? 128 : 0);
            const int32_t step = requantize_lane((int32_t)sum, (int32_t)packed[place], shift, zero_point);
            row->output[channel + i] = row->table != NULL ? row->table[step + 128] : (int8_t)step;
        }
        packed += 10;
    }
}

KERNEL void mve_nine_taps(const uint32_t *packed, const struct mve_tap_row *row)
{
    const int8_t *taps[9];
    struct mve_tap_row all = *row;
    all.taps = taps;
    for (int32_t pixel = 0; pixel < row->pixels; pixel++) {
        const int32_t behind = pixel * (row->input_step + 8 * row->blocks);
        for (int32_t i = 0; i < 9; i++) {
            taps[i] = row->taps[i / 3 * 3] + i % 3 * row->channels;
        }
        all.first = row->first + behind;
        all.output = row->output + pixel * row->channels - behind;
        mve_any_taps(packed, &all);
    }
}

#define mve_nine_taps_up mve_nine_taps
#define mve_any_taps_up mve_any_taps
#endif

/* One row of a depthwise convolution, eight channels at a time. rows[i] is NULL in the padding; scratch holds one
 * input pixel, taps a pointer a tap. */
KERNEL void mve_depthwise(const struct mve_depthwise *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch,
                          const int8_t **taps)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns, channels = geometry->input_channels;
    const int32_t whole_blocks = channels >> 3, step = geometry->stride * channels;
    struct mve_tap_row row = {taps, count, layer->zero_point + (layer->table != NULL ? 128 : 0), layer->table, output, channels, 0,
                          whole_blocks, step - 8 * whole_blocks, channels - 8 * whole_blocks, 1};
    fill_pixel(scratch, channels, geometry->pad_value);
    const int whole = all_rows_are_there(geometry, rows);
    const int nine = whole && count == 9 && geometry->kernel_rows == 3 && geometry->dilation == 1;
    int32_t behind = 0;
    for (int32_t column = 0; column < geometry->output_columns;) {
        const int32_t left = column * geometry->stride - geometry->pad_left;
        const int32_t room = geometry->input_columns - 3 - left;
        const int inside = nine && left >= 0 && room >= 0;
        row.pixels = 1;
        if (inside) {
            for (int32_t i = 0; i < 3; i++) {
                taps[3 * i] = rows[i] + left * channels;
            }
            const int32_t most = geometry->output_columns - column, fitting = room / geometry->stride + 1;
            row.pixels = fitting < most ? fitting : most;
            behind = 0;
        } else if (nine) {
            move_taps(geometry, rows, column, scratch, taps);
            behind = 0;
        } else {
            behind = next_taps(geometry, rows, column, scratch, taps, whole, behind);
        }
        mve_channels *const some = inside ? layer->nine_taps : layer->any_taps;
        row.first = behind;
        row.output = output - behind;
        some(layer->packed, &row);
        if ((channels & 7) != 0) {
            /* Whole eights, then the last eight. */
            struct mve_tap_row last = row;
            last.first = behind + channels - 8;
            last.blocks = 1;
            last.input_step = step - 8;
            last.output_step = channels - 8;
            some(layer->packed + whole_blocks * (18 + 2 * count), &last);
        }
        column += row.pixels;
        output += row.pixels * channels;
    }
}
