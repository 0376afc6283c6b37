struct dsp_tap_row;
/* Makes some channels of an output pixel, four by four. */
typedef void dsp_channels(const uint32_t *packed, const struct dsp_tap_row *row);

struct dsp_depthwise {
    struct geometry geometry;
    /* For each four channels, of which the last four may be partly the ones before, too: four doubled biases with
     * -input_zero_point * sum(weights); for each two taps four words of two doubled int16 weights, a channel each; for the
     * last of an odd number four doubled int16 weights in the order 0 2 1 3; four multipliers; four right shifts,
     * 1 … 31, a byte each. */
    const uint32_t *packed;
    dsp_channels *channels; /* for the number of taps and how steps are rounded */
    const int8_t *table;    /* replaces each output step, or NULL */
    int32_t zero_point;
};

/* One output pixel under way; the assembly below reads it by offset. */
struct dsp_tap_row {
    const int8_t *const *taps;      /* 0 */
    const int8_t *const *pairs_end; /* 4: where the last two taps end */
    int32_t zero_point;             /* 8 */
    const int8_t *table;            /* 12: at step 0 */
    int8_t *output;                 /* 16: of what would be the first byte behind the taps */
    int32_t end;                    /* 20: behind the taps, of the channels */
    int32_t first;                  /* 24: behind the taps, of the first channel */
};

#if DSP
/* Sums are in r4 … r7; r0 walks along the weights, r2 along the taps, r8 along the channels. Two pixels become two words
 * in which each channel of one stands beside that of the other. */
#define TWO_TAPS                               \
    "ldrd r1, r3, [r2], #8\n\t"                \
    "ldr r1, [r1, r8]\n\t"                     \
    "ldr r3, [r3, r8]\n\t"                     \
    "ldm r0!, {r9-r12}\n\t"                    \
    "pkhbt lr, r1, r3, lsl #16\n\t"            \
    "pkhtb r3, r3, r1, asr #16\n\t"            \
    "sxtb16 r1, lr\n\t"                        \
    "sxtb16 lr, lr, ror #8\n\t"                \
    "smlad r4, r1, r9, r4\n\t"                 \
    "smlad r5, lr, r10, r5\n\t"                \
    "sxtb16 r1, r3\n\t"                        \
    "sxtb16 r3, r3, ror #8\n\t"                \
    "smlad r6, r1, r11, r6\n\t"                \
    "smlad r7, r3, r12, r7\n\t"
#define ONE_TAP                                \
    "ldr r1, [r2]\n\t"                         \
    "ldrd r9, r10, [r0], #8\n\t"               \
    "ldr r1, [r1, r8]\n\t"                     \
    "sxtb16 r3, r1\n\t"                        \
    "sxtb16 r1, r1, ror #8\n\t"                \
    "smlabb r4, r3, r9, r4\n\t"                \
    "smlatt r6, r3, r9, r6\n\t"                \
    "smlabb r5, r1, r10, r5\n\t"               \
    "smlatt r7, r1, r10, r7\n\t"
#define FOUR_CHANNELS(name, unroll, last, round)                                                           \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,   \
                                                              __attribute__((unused)) const struct dsp_tap_row *row) \
    {                                                                                                      \
        __asm__("push {r4-r11, lr}\n\t"                                                                    \
                "ldr r2, [r1, #4]\n\t"                                                                     \
                "ldr r8, [r1, #24]\n\t"                                                                    \
                "push {r1, r2}\n"                                                                          \
                "1:\n\t"                                                                                   \
                "ldr r1, [sp]\n\t"                                                                         \
                "ldm r0!, {r4-r7}\n\t"                                                                     \
                "ldr r2, [r1]\n"                                                                           \
                "2:\n\t"                                                                                   \
                ".rept " unroll "\n\t" TWO_TAPS ".endr\n\t"                                                \
                "ldr lr, [sp, #4]\n\t"                                                                     \
                "cmp r2, lr\n\t"                                                                           \
                "bne 2b\n\t" last                                                                          \
                "ldm r0!, {r9-r12}\n\t"                                                                    \
                "ldr r1, [sp]\n\t"                                                                         \
                "ldr r3, [r0], #4\n\t"                                                                     \
                "ldr lr, [r1, #8]\n\t"                                                                     \
                "smmulr r4, r4, r9\n\t"                                                                    \
                "smmulr r5, r5, r10\n\t"                                                                   \
                "smmulr r6, r6, r11\n\t"                                                                   \
                "smmulr r7, r7, r12\n\t" round("r4", "r3", "lr")                                           \
                "lsr r3, r3, #8\n\t" round("r5", "r3", "lr")                                               \
                "lsr r3, r3, #8\n\t" round("r6", "r3", "lr")                                               \
                "lsr r3, r3, #8\n\t" round("r7", "r3", "lr")                                               \
                "ldrd r2, r12, [r1, #12]\n\t"                                                              \
                "ldr r3, [r1, #20]\n\t"                                                                    \
                "cbz r2, 3f\n\t"                                                                           \
                "ldrb r4, [r2, r4]\n\t"                                                                    \
                "ldrb r5, [r2, r5]\n\t"                                                                    \
                "ldrb r6, [r2, r6]\n\t"                                                                    \
                "ldrb r7, [r2, r7]\n"                                                                      \
                "3:\n\t"                                                                                   \
                "bfi r4, r5, #8, #8\n\t"                                                                   \
                "bfi r6, r7, #8, #8\n\t"                                                                   \
                "pkhbt r4, r4, r6, lsl #16\n\t"                                                            \
                "str r4, [r12, r8]\n\t"                                                                    \
                "add r8, r8, #4\n\t"                                                                       \
                "cmp r8, r3\n\t"                                                                           \
                "bne 1b\n\t"                                                                               \
                "add sp, #8\n\t"                                                                           \
                "pop {r4-r11, pc}");                                                                       \
    }
/* _eights: the taps are a multiple of eight, or one more where they are odd. _up: ties go up, which differs for steps below
 * the zero point alone, and there is none. */
FOUR_CHANNELS(dsp_even_taps, "1", "", ROUND)
FOUR_CHANNELS(dsp_even_taps_up, "1", "", ROUND_UP)
FOUR_CHANNELS(dsp_odd_taps, "1", ONE_TAP, ROUND)
FOUR_CHANNELS(dsp_odd_taps_up, "1", ONE_TAP, ROUND_UP)
FOUR_CHANNELS(dsp_odd_taps_eights, "4", ONE_TAP, ROUND)
FOUR_CHANNELS(dsp_odd_taps_eights_up, "4", ONE_TAP, ROUND_UP)
#else
INLINE void dsp_taps(const uint32_t *packed, const struct dsp_tap_row *row, int odd)
{
    for (int32_t channel = row->first; channel < row->end; channel += 4) {
        uint32_t sums[4] = {packed[0], packed[1], packed[2], packed[3]};
        const int8_t *const *taps = row->taps;
        packed += 4;
        for (; taps != row->pairs_end; taps += 2, packed += 4) {
            for (int32_t i = 0; i < 4; i++) {
                sums[i] += (uint32_t)(taps[0][channel + i] * (int16_t)(packed[i] & 0xFFFFu));
                sums[i] += (uint32_t)(taps[1][channel + i] * (int16_t)(packed[i] >> 16));
            }
        }
        for (int32_t i = 0; odd && i < 4; i++) {
            const int32_t place = (i & 1) * 2 + (i >> 1);
            sums[i] += (uint32_t)(taps[0][channel + i] * (int16_t)(packed[place >> 1] >> 16 * (place & 1) & 0xFFFFu));
        }
        packed += odd ? 2 : 0;
        for (int32_t i = 0; i < 4; i++) {
            const int32_t shift = (int32_t)(packed[4] >> 8 * i & 0xFFu);
            const int32_t step = requantize_doubled((int32_t)sums[i], (int32_t)packed[i], shift, row->zero_point);
            row->output[channel + i] = row->table != NULL ? row->table[step] : (int8_t)step;
        }
        packed += 5;
    }
}

KERNEL void dsp_even_taps(const uint32_t *packed, const struct dsp_tap_row *row)
{
    dsp_taps(packed, row, 0);
}

KERNEL void dsp_odd_taps(const uint32_t *packed, const struct dsp_tap_row *row)
{
    dsp_taps(packed, row, 1);
}

#define dsp_even_taps_up dsp_even_taps
#define dsp_odd_taps_up dsp_odd_taps
#define dsp_odd_taps_eights dsp_odd_taps
#define dsp_odd_taps_eights_up dsp_odd_taps
#endif

/* One row of a depthwise convolution, four channels at a time. rows[i] is NULL in the padding; scratch holds one
 * input pixel, taps a pointer a tap. */
KERNEL void dsp_depthwise(const struct dsp_depthwise *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch,
                          const int8_t **taps)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns, channels = geometry->input_channels;
    struct dsp_tap_row row = {taps, taps + (count & ~1), layer->zero_point, layer->table != NULL ? layer->table + 128 : NULL, output,
                          channels & ~3, 0};
    int32_t behind = 0;
    fill_pixel(scratch, channels, geometry->pad_value);
    const int whole = all_rows_are_there(geometry, rows);
    for (int32_t column = 0; column < geometry->output_columns; column++, output += channels) {
        behind = next_taps(geometry, rows, column, scratch, taps, whole, behind);
        row.first = behind;
        row.end = behind + (channels & ~3);
        row.output = output - behind;
        layer->channels(layer->packed, &row);
        if ((channels & 3) != 0) {
            /* Whole fours, then the last four. */
            row.first = behind + channels - 4;
            row.end = behind + channels;
            layer->channels(layer->packed + (channels >> 2) * (9 + 2 * count), &row);
        }
    }
}
