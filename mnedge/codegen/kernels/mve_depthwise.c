struct mve_depthwise {
    struct geometry geometry;
    /* For each eight channels, of which the last eight may be partly the ones before, too, the even ones before the odd
     * ones: eight biases with -input_zero_point * sum(weights);
     * for each tap eight weights in order; eight multipliers; eight shifts, -31 … -1, a byte each. */
    const uint32_t *packed;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t zero_point;
};

/* One output pixel under way; the assembly below reads it by offset. */
struct tap_row {
    const int8_t *const *taps; /* 0 */
    int32_t count;             /* 4 */
    int32_t zero_point;        /* 8: 128 more with a table */
    const int8_t *table;       /* 12 */
    int8_t *output;            /* 16 */
    int32_t channels;          /* 20: from one pixel to the next */
    int32_t first;             /* 24: channel */
    int32_t blocks;            /* 28: of eight channels */
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
#define FINISH                         \
    "vldrw.u32 q2, [r7], #16\n\t"     \
    "vldrw.u32 q3, [r7], #16\n\t"     \
    "vqrdmulh.s32 q0, q0, q2\n\t"      \
    "vqrdmulh.s32 q1, q1, q3\n\t"      \
    "vshr.s32 q4, q0, #31\n\t"         \
    "vadd.i32 q0, q0, q4\n\t"          \
    "vshr.s32 q5, q1, #31\n\t"         \
    "vadd.i32 q1, q1, q5\n\t"          \
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

/* All channels of one output pixel whose window of 3 x 3 lies inside the input, eight by eight: r1 r2 r3 are the first
 * taps of the three rows, the others lie r8 and r9 bytes behind them. */
__attribute__((naked, noinline)) static void mve_nine_taps(__attribute__((unused)) const uint32_t *packed,
                                                           __attribute__((unused)) const struct tap_row *row)
{
    __asm__("push {r3-r11, lr}\n\t"
            "vpush {d8-d15}\n\t"
            "mov r7, r0\n\t"
            "ldrd r2, r0, [r1, #8]\n\t"
            "vdup.16 q7, r2\n\t"
            "ldrd r6, r8, [r1, #16]\n\t"
            "lsl r9, r8, #1\n\t"
            "ldrd r5, r2, [r1, #24]\n\t"
            "dls lr, r2\n\t"
            "ldr r4, [r1]\n\t"
            "add r6, r5\n\t"
            "ldr r1, [r4]\n\t"
            "add r1, r5\n\t"
            "ldr r2, [r4, #12]\n\t"
            "add r2, r5\n\t"
            "ldr r3, [r4, #24]\n\t"
            "add r3, r5\n"
            "1:\n\t"
            "vldrw.u32 q0, [r7], #16\n\t"
            "vldrw.u32 q1, [r7], #16\n\t"
            "add r4, r1, r8\n\t"
            "add r5, r1, r9\n\t" PAIR("r1", ", #8", "", "r4", "")
            "add r4, r2, r8\n\t" PAIR("r5", "", "add r5, r2, r9\n\t", "r2", ", #8") PAIR("r4", "", "", "r5", "")
            "add r4, r3, r8\n\t"
            "add r5, r3, r9\n\t" PAIR("r3", ", #8", "", "r4", "")
            LOAD("r5", "") "vmul.i16 q4, q2, q3\n\t" WIDEN_ADD FINISH
            "le lr, 1b\n\t"
            "vpop {d8-d15}\n\t"
            "pop {r3-r11, pc}");
}

/* The same under any window; r8 walks along the taps, r3 is the channel. */
__attribute__((naked, noinline)) static void mve_any_taps(__attribute__((unused)) const uint32_t *packed,
                                                          __attribute__((unused)) const struct tap_row *row)
{
    __asm__("push {r3-r11, lr}\n\t"
            "vpush {d8-d15}\n\t"
            "mov r7, r0\n\t"
            "ldrd r2, r0, [r1, #8]\n\t"
            "vdup.16 q7, r2\n\t"
            "ldr r6, [r1, #16]\n\t"
            "ldrd r9, r11, [r1]\n\t"
            "lsr r10, r11, #1\n\t"
            "ldrd r3, r2, [r1, #24]\n\t"
            "add r6, r3\n\t"
            "add r2, r3, r2, lsl #3\n"
            "1:\n\t"
            "mov r8, r9\n\t"
            "vldrw.u32 q0, [r7], #16\n\t"
            "vldrw.u32 q1, [r7], #16\n\t"
            "wls lr, r10, 6f\n"
            "2:\n\t"
            "ldrd r4, r5, [r8], #8\n\t"
            "add r4, r3\n\t"
            "add r5, r3\n\t" PAIR("r4", "", "", "r5", "")
            "le lr, 2b\n"
            "6:\n\t"
            "tst r11, #1\n\t"
            "beq 5f\n\t"
            "ldr r4, [r8]\n\t"
            "add r4, r3\n\t" LOAD("r4", "") "vmul.i16 q4, q2, q3\n\t" WIDEN_ADD
            "5:\n\t" FINISH
            "add r3, #8\n\t"
            "cmp r3, r2\n\t"
            "bne 1b\n\t"
            "vpop {d8-d15}\n\t"
            "pop {r3-r11, pc}");
}
#else
static void mve_any_taps(const uint32_t *packed, const struct tap_row *row)
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

static void mve_nine_taps(const uint32_t *packed, const struct tap_row *row)
{
    const int8_t *taps[9];
    const struct tap_row all = {taps, 9, row->zero_point, row->table, row->output, row->channels, row->first, row->blocks};
    for (int32_t i = 0; i < 9; i++) {
        taps[i] = row->taps[i / 3 * 3] + i % 3 * row->channels;
    }
    mve_any_taps(packed, &all);
}
#endif

/* One row of a depthwise convolution, eight channels at a time. rows[i] is NULL in the padding; scratch holds one
 * input pixel, taps a pointer a tap. */
KERNEL void mve_depthwise(const struct mve_depthwise *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch,
                          const int8_t **taps)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns, channels = geometry->input_channels;
    struct tap_row row = {taps, count, layer->zero_point + (layer->table != NULL ? 128 : 0), layer->table, output, channels, 0,
                          channels >> 3};
    for (int32_t channel = 0; channel < channels; channel++) {
        scratch[channel] = (int8_t)geometry->pad_value;
    }
    const int whole = count == 9 && geometry->kernel_rows == 3 && geometry->dilation == 1 && rows[0] != NULL && rows[1] != NULL &&
                      rows[geometry->kernel_rows - 1] != NULL;
    for (int32_t column = 0; column < geometry->output_columns; column++, row.output += channels) {
        const int32_t left = column * geometry->stride - geometry->pad_left;
        const int inside = whole && left >= 0 && left + 3 <= geometry->input_columns;
        if (inside) {
            for (int32_t i = 0; i < 3; i++) {
                taps[3 * i] = rows[i] + left * channels;
            }
            mve_nine_taps(layer->packed, &row);
        } else {
            move_taps(geometry, rows, column, scratch, taps);
            mve_any_taps(layer->packed, &row);
        }
        if ((channels & 7) != 0) {
            /* Whole eights, then the last eight. */
            const struct tap_row last = {taps, count, row.zero_point, row.table, row.output, channels, channels - 8, 1};
            const uint32_t *const packed = layer->packed + row.blocks * (18 + 2 * count);
            if (inside) {
                mve_nine_taps(packed, &last);
            } else {
                mve_any_taps(packed, &last);
            }
        }
    }
}
