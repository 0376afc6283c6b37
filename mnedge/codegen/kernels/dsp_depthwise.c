struct dsp_depthwise {
    struct geometry geometry;
    /* For each four channels, of which the last four may be partly the ones before, too: four doubled biases with -input_zero_point * sum(weights); for each tap four doubled
     * int16 weights in the order 0 2 1 3; four multipliers; four right shifts, 1 … 31, a byte each. */
    const uint32_t *packed;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t zero_point;
};

/* One output pixel under way; the assembly below reads it by offset. */
struct tap_row {
    const int8_t *const *taps;     /* 0 */
    const int8_t *const *taps_end; /* 4 */
    int32_t zero_point;            /* 8 */
    const int8_t *table;           /* 12: at step 0 */
    int8_t *output;                /* 16 */
    int32_t end;                   /* 20: of the channels */
    int32_t first;                 /* 24: channel */
};

#if DSP
/* All channels of one output pixel, four by four, with `unroll` taps at a time. Sums are in r4 … r7; r0 walks along the
 * weights, r2 along the taps, r8 along the channels. */
#define FOUR_CHANNELS(name, unroll)                                                                            \
    __attribute__((naked, noinline)) static void name(__attribute__((unused)) const uint32_t *packed,          \
                                                      __attribute__((unused)) const struct tap_row *row)       \
    {                                                                                                          \
        __asm__("push {r3-r11, lr}\n\t"                                                                        \
                "ldr r8, [r1, #24]\n"                                                                          \
                "1:\n\t"                                                                                       \
                "ldrd r2, r3, [r1]\n\t"                                                                        \
                "ldrd r4, r5, [r0], #8\n\t"                                                                    \
                "ldrd r6, r7, [r0], #8\n"                                                                      \
                "2:\n\t"                                                                                       \
                ".rept " unroll "\n\t"                                                                         \
                "ldr r10, [r2], #4\n\t"                                                                        \
                "ldrd r12, r9, [r0], #8\n\t"                                                                   \
                "ldr r10, [r10, r8]\n\t"                                                                       \
                "sxtb16 r11, r10, ror #8\n\t"                                                                  \
                "sxtb16 r10, r10\n\t"                                                                          \
                "smlabb r4, r10, r12, r4\n\t"                                                                  \
                "smlatt r6, r10, r12, r6\n\t"                                                                  \
                "smlabb r5, r11, r9, r5\n\t"                                                                   \
                "smlatt r7, r11, r9, r7\n\t"                                                                   \
                ".endr\n\t"                                                                                    \
                "cmp r2, r3\n\t"                                                                               \
                "bne 2b\n\t"                                                                                   \
                "ldrd r12, r9, [r0], #8\n\t"                                                                   \
                "ldr r10, [r0, #8]\n\t"                                                                        \
                "ldr r11, [r1, #8]\n\t"                                                                        \
                "smmulr r4, r4, r12\n\t"                                                                       \
                "smmulr r5, r5, r9\n\t"                                                                        \
                "ldrd r12, r9, [r0], #12\n\t" ROUND("r4", "r10", "r11")                                        \
                "lsr r10, r10, #8\n\t"                                                                         \
                "smmulr r6, r6, r12\n\t" ROUND("r5", "r10", "r11")                                             \
                "lsr r10, r10, #8\n\t"                                                                         \
                "smmulr r7, r7, r9\n\t" ROUND("r6", "r10", "r11")                                              \
                "lsr r10, r10, #8\n\t" ROUND("r7", "r10", "r11")                                               \
                "ldrd r2, r12, [r1, #12]\n\t"                                                                  \
                "ldr r10, [r1, #20]\n\t"                                                                       \
                "cbz r2, 3f\n\t"                                                                               \
                "ldrb r4, [r2, r4]\n\t"                                                                        \
                "ldrb r5, [r2, r5]\n\t"                                                                        \
                "ldrb r6, [r2, r6]\n\t"                                                                        \
                "ldrb r7, [r2, r7]\n"                                                                          \
                "3:\n\t"                                                                                       \
                "bfi r4, r5, #8, #8\n\t"                                                                       \
                "bfi r6, r7, #8, #8\n\t"                                                                       \
                "pkhbt r4, r4, r6, lsl #16\n\t"                                                                \
                "str r4, [r12, r8]\n\t"                                                                        \
                "add r8, r8, #4\n\t"                                                                           \
                "cmp r8, r10\n\t"                                                                              \
                "bne 1b\n\t"                                                                                   \
                "pop {r3-r11, pc}");                                                                           \
    }
FOUR_CHANNELS(dsp_nine_taps, "9")
FOUR_CHANNELS(dsp_five_taps, "5")
FOUR_CHANNELS(dsp_any_taps, "1")
#else
static void dsp_any_taps(const uint32_t *packed, const struct tap_row *row)
{
    for (int32_t channel = row->first; channel < row->end; channel += 4) {
        uint32_t sums[4] = {packed[0], packed[1], packed[2], packed[3]};
        packed += 4;
        for (const int8_t *const *taps = row->taps; taps != row->taps_end; taps++, packed += 2) {
            const int8_t *const pixel = *taps + channel;
            sums[0] += (uint32_t)(pixel[0] * (int16_t)(packed[0] & 0xFFFFu));
            sums[2] += (uint32_t)(pixel[2] * (int16_t)(packed[0] >> 16));
            sums[1] += (uint32_t)(pixel[1] * (int16_t)(packed[1] & 0xFFFFu));
            sums[3] += (uint32_t)(pixel[3] * (int16_t)(packed[1] >> 16));
        }
        for (int32_t i = 0; i < 4; i++) {
            const int32_t shift = (int32_t)(packed[4] >> 8 * i & 0xFFu);
            const int32_t step = requantize_doubled((int32_t)sums[i], (int32_t)packed[i], shift, row->zero_point);
            row->output[channel + i] = row->table != NULL ? row->table[step] : (int8_t)step;
        }
        packed += 5;
    }
}

#define dsp_nine_taps dsp_any_taps
#define dsp_five_taps dsp_any_taps
#endif

/* Some channels of one output pixel. */
INLINE void dsp_channels(const uint32_t *packed, const struct tap_row *row, int32_t count)
{
    if (count == 9) {
        dsp_nine_taps(packed, row);
    } else if (count % 5 == 0) {
        dsp_five_taps(packed, row);
    } else {
        dsp_any_taps(packed, row);
    }
}

/* One row of a depthwise convolution, four channels at a time. rows[i] is NULL in the padding; scratch holds one
 * input pixel, taps a pointer a tap. */
KERNEL void dsp_depthwise(const struct dsp_depthwise *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch,
                          const int8_t **taps)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns, channels = geometry->input_channels;
    struct tap_row row = {taps, taps + count, layer->zero_point, layer->table != NULL ? layer->table + 128 : NULL, output,
                          channels & ~3, 0};
    for (int32_t channel = 0; channel < channels; channel++) {
        scratch[channel] = (int8_t)geometry->pad_value;
    }
    for (int32_t column = 0; column < geometry->output_columns; column++, row.output += channels) {
        move_taps(geometry, rows, column, scratch, taps);
        dsp_channels(layer->packed, &row, count);
        if ((channels & 3) != 0) {
            /* Whole fours, then the last four. */
            const struct tap_row last = {taps, taps + count, row.zero_point, row.table, row.output, channels, channels - 4};
            dsp_channels(layer->packed + (channels >> 2) * (9 + 2 * count), &last, count);
        }
    }
}
