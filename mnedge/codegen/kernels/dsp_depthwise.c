struct dsp_depthwise {
    struct geometry geometry;
    /* For each four channels: four doubled biases with -input_zero_point * sum(weights); for each tap four doubled
     * int16 weights in the order 0 2 1 3; four multipliers; four right shifts, 1 … 31, a byte each. */
    const uint32_t *packed;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t zero_point;
};

/* What the inner loop needs but has no register for. */
struct tap_row {
    const int8_t *const *taps;
    const int8_t *const *taps_end;
    int32_t zero_point;
    const int8_t *table; /* at step 0 */
    int8_t *output;
    int32_t channels;
};

#if DSP
#define TAPS(unroll)                                       \
    "2:\n\t"                                               \
    ".rept " unroll "\n\t"                                 \
    "ldr %[x], [%[taps]], #4\n\t"                          \
    "ldrd %[w0], %[w1], [%[w]], #8\n\t"                    \
    "ldr %[x], [%[x], %[channel]]\n\t"                     \
    "sxtb16 %[odd], %[x], ror #8\n\t"                      \
    "sxtb16 %[x], %[x]\n\t"                                \
    "smlabb %[a0], %[x], %[w0], %[a0]\n\t"                 \
    "smlatt %[a2], %[x], %[w0], %[a2]\n\t"                 \
    "smlabb %[a1], %[odd], %[w1], %[a1]\n\t"               \
    "smlatt %[a3], %[odd], %[w1], %[a3]\n\t"               \
    ".endr\n\t"                                            \
    "cmp %[taps], %[end]\n\t"                              \
    "bne 2b\n\t"

#define FOUR_CHANNELS(unroll)                                                                                          \
    __asm__ volatile("1:\n\t"                                                                                          \
                     "ldrd %[taps], %[end], [%[row]]\n\t"                                                              \
                     "ldrd %[a0], %[a1], [%[w]], #8\n\t"                                                               \
                     "ldrd %[a2], %[a3], [%[w]], #8\n" TAPS(unroll)                                                    \
                     "ldrd %[w0], %[w1], [%[w]], #8\n\t"                                                               \
                     "ldr %[x], [%[w], #8]\n\t"                                                                        \
                     "ldr %[odd], [%[row], #8]\n\t"                                                                    \
                     "smmulr %[a0], %[a0], %[w0]\n\t"                                                                  \
                     "smmulr %[a1], %[a1], %[w1]\n\t"                                                                  \
                     "ldrd %[w0], %[w1], [%[w]], #12\n\t" ROUND("%[a0]", "%[x]", "%[odd]")                             \
                     "lsr %[x], %[x], #8\n\t"                                                                          \
                     "smmulr %[a2], %[a2], %[w0]\n\t" ROUND("%[a1]", "%[x]", "%[odd]")                                 \
                     "lsr %[x], %[x], #8\n\t"                                                                          \
                     "smmulr %[a3], %[a3], %[w1]\n\t" ROUND("%[a2]", "%[x]", "%[odd]")                                 \
                     "lsr %[x], %[x], #8\n\t" ROUND("%[a3]", "%[x]", "%[odd]")                                         \
                     "ldrd %[w0], %[w1], [%[row], #12]\n\t"                                                            \
                     "cbz %[w0], 3f\n\t"                                                                               \
                     "ldrb %[a0], [%[w0], %[a0]]\n\t"                                                                  \
                     "ldrb %[a1], [%[w0], %[a1]]\n\t"                                                                  \
                     "ldrb %[a2], [%[w0], %[a2]]\n\t"                                                                  \
                     "ldrb %[a3], [%[w0], %[a3]]\n"                                                                    \
                     "3:\n\t"                                                                                          \
                     "bfi %[a0], %[a1], #8, #8\n\t"                                                                    \
                     "bfi %[a2], %[a3], #8, #8\n\t"                                                                    \
                     "pkhbt %[a0], %[a0], %[a2], lsl #16\n\t"                                                          \
                     "ldr %[x], [%[row], #20]\n\t"                                                                     \
                     "str %[a0], [%[w1], %[channel]]\n\t"                                                              \
                     "add %[channel], %[channel], #4\n\t"                                                              \
                     "cmp %[channel], %[x]\n\t"                                                                        \
                     "blt 1b"                                                                                          \
                     : [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [a3] "=&r"(a3), [taps] "=&r"(taps),             \
                       [end] "=&r"(end), [w] "+&r"(packed), [channel] "+&r"(channel), [w0] "=&l"(w0), [w1] "=&r"(w1),  \
                       [x] "=&r"(x), [odd] "=&r"(odd)                                                                  \
                     : [row] "r"(row)                                                                                  \
                     : "cc", "memory")
#endif

/* All channels of one output pixel, four by four. */
INLINE void dsp_four_channels(const uint32_t *packed, const struct tap_row *row)
{
    int32_t channel = 0;
#if DSP
    int32_t a0, a1, a2, a3;
    uint32_t w0, w1, x, odd;
    const int8_t *const *taps, *const *end;
    const int32_t count = (int32_t)(row->taps_end - row->taps);
    if (count == 9) {
        FOUR_CHANNELS("9");
    } else if (count == 25) {
        FOUR_CHANNELS("5");
    } else {
        FOUR_CHANNELS("1");
    }
#else
    for (; channel < row->channels; channel += 4) {
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
#endif
}

/* One row of a depthwise convolution, four channels at a time. rows[i] is NULL in the padding; scratch holds one
 * input pixel. */
KERNEL void dsp_depthwise(const struct dsp_depthwise *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch)
{
    const struct geometry *const geometry = &layer->geometry;
    const int8_t *taps[MAXIMUM_TAPS];
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns;
    struct tap_row row = {taps, taps + count, layer->zero_point, layer->table != NULL ? layer->table + 128 : NULL, output,
                          geometry->input_channels};
    for (int32_t channel = 0; channel < row.channels; channel++) {
        scratch[channel] = (int8_t)geometry->pad_value;
    }
    for (int32_t column = 0; column < geometry->output_columns; column++, row.output += row.channels) {
        move_taps(geometry, rows, column, scratch, taps);
        dsp_four_channels(layer->packed, &row);
    }
}
