struct dsp_tap_row;
/* Makes some channels of an output pixel, four by four. */
typedef void dsp_channels(const uint32_t *packed, const struct dsp_tap_row *row);

struct dsp_depthwise {
    struct geometry geometry;
    /* For each four channels, of which the last four may be partly the ones before, too: four doubled biases with
     * -input_zero_point * sum(weights); for each two taps four words of two doubled int16 weights, a channel each; for the
     * last of an odd number four doubled int16 weights in the order 0 2 1 3; four multipliers; four right shifts,
     * 1 … 31, a byte each. Where ties go up, four words (zero_point + 1/2) * 2^shift and four shifts, 1 … 22, instead of
     * bytes. */
    const uint32_t *packed;
    dsp_channels *channels; /* for the number of taps and how steps are rounded */
    const int8_t *table;    /* replaces each output step, or NULL */
    int32_t zero_point;
    int32_t words; /* of four channels */
};

/* Output pixels side by side; the assembly below reads it by offset. */
struct dsp_tap_row {
    const int8_t *const *taps;      /* 0 */
    const int8_t *const *pairs_end; /* 4: where the last two taps end */
    int32_t zero_point;             /* 8 */
    const int8_t *table;            /* 12: at step 0 */
    int32_t end;                    /* 16: behind the taps, of the channels */
    int8_t *output;                 /* 20: of what would be the first byte behind the taps */
    int32_t first;                  /* 24: behind the taps, of the first channel */
    int32_t pixels;                 /* 28 */
    int32_t input_step;             /* 32: from behind the channels of one pixel to those of the next */
    int32_t end_step;               /* 36: from one end to the next */
    int32_t output_step;            /* 40: of `output` */
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
#define TURN "ldr lr, [sp, #12]\n\tcmp r2, lr\n\tbne 2b\n\t"
/* From sums to steps, and the table to r2. */
#define STEPS                                          \
    "ldr r3, [r0], #4\n\t"                             \
    "ldrd lr, r2, [sp, #16]\n\t"                       \
    "smmulr r4, r4, r9\n\t"                            \
    "smmulr r5, r5, r10\n\t"                           \
    "smmulr r6, r6, r11\n\t"                           \
    "smmulr r7, r7, r12\n\t" ROUND("r4", "r3", "lr")   \
    "lsr r3, r3, #8\n\t" ROUND("r5", "r3", "lr")       \
    "lsr r3, r3, #8\n\t" ROUND("r6", "r3", "lr")       \
    "lsr r3, r3, #8\n\t" ROUND("r7", "r3", "lr")
#define STEPS_UP                       \
    "ldm r0!, {r1, r2, r3, lr}\n\t"    \
    "smmlar r4, r4, r9, r1\n\t"        \
    "smmlar r5, r5, r10, r2\n\t"       \
    "smmlar r6, r6, r11, r3\n\t"       \
    "smmlar r7, r7, r12, lr\n\t"       \
    "ldm r0!, {r9-r12}\n\t"            \
    "ldr r2, [sp, #20]\n\t"            \
    "asr r4, r4, r9\n\t"               \
    "asr r5, r5, r10\n\t"              \
    "asr r6, r6, r11\n\t"              \
    "asr r7, r7, r12\n\t"              \
    "ssat r4, #8, r4\n\t"              \
    "ssat r5, #8, r5\n\t"              \
    "ssat r6, #8, r6\n\t"              \
    "ssat r7, #8, r7\n\t"
/* On the stack: the weights, the row, and its first six words and its pixels, as they change. */
#define FOUR_CHANNELS(name, unroll, turn, last, steps)                                                     \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,   \
                                                              __attribute__((unused)) const struct dsp_tap_row *row) \
    {                                                                                                      \
        __asm__("push {r4-r11, lr}\n\t"                                                                    \
                "ldm r1, {r2-r9}\n\t"                                                                      \
                "push {r0-r7, r9}\n"                                                                       \
                "1:\n\t"                                                                                   \
                "ldm r0!, {r4-r7}\n\t"                                                                     \
                "ldr r2, [sp, #8]\n"                                                                       \
                "2:\n\t"                                                                                   \
                ".rept " unroll "\n\t" TWO_TAPS ".endr\n\t" turn last                                      \
                "ldm r0!, {r9-r12}\n\t" steps                                                              \
                "ldrd r3, r12, [sp, #24]\n\t"                                                              \
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
                "ldrd r0, r1, [sp]\n\t"                                                                    \
                "ldrd r4, r5, [r1, #32]\n\t"                                                               \
                "ldr r6, [r1, #40]\n\t"                                                                    \
                "ldr r9, [sp, #32]\n\t"                                                                    \
                "add r8, r8, r4\n\t"                                                                       \
                "add r3, r3, r5\n\t"                                                                       \
                "add r12, r12, r6\n\t"                                                                     \
                "strd r3, r12, [sp, #24]\n\t"                                                              \
                "subs r9, r9, #1\n\t"                                                                      \
                "str r9, [sp, #32]\n\t"                                                                    \
                "bne 1b\n\t"                                                                               \
                "add sp, #36\n\t"                                                                          \
                "pop {r4-r11, pc}");                                                                       \
    }
/* _nine: nine taps; _eights: a multiple of eight and one more. _up: ties go up, which differs for steps below the zero point
 * alone, and there is none. */
FOUR_CHANNELS(dsp_even_taps, "1", TURN, "", STEPS)
FOUR_CHANNELS(dsp_even_taps_up, "1", TURN, "", STEPS_UP)
FOUR_CHANNELS(dsp_odd_taps, "1", TURN, ONE_TAP, STEPS)
FOUR_CHANNELS(dsp_odd_taps_up, "1", TURN, ONE_TAP, STEPS_UP)
FOUR_CHANNELS(dsp_odd_taps_nine, "4", "", ONE_TAP, STEPS)
FOUR_CHANNELS(dsp_odd_taps_nine_up, "4", "", ONE_TAP, STEPS_UP)
FOUR_CHANNELS(dsp_odd_taps_eights, "4", TURN, ONE_TAP, STEPS)
FOUR_CHANNELS(dsp_odd_taps_eights_up, "4", TURN, ONE_TAP, STEPS_UP)
#else
INLINE void dsp_taps(const uint32_t *packed, const struct dsp_tap_row *row, int odd, int up)
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
            int32_t step;
            if (up) {
                step = (high_multiply((int32_t)sums[i], (int32_t)packed[i]) + (int32_t)packed[4 + i]) >> packed[8 + i];
                step = step < -128 ? -128 : step > 127 ? 127 : step;
            } else {
                const int32_t shift = (int32_t)(packed[4] >> 8 * i & 0xFFu);
                step = requantize_doubled((int32_t)sums[i], (int32_t)packed[i], shift, row->zero_point);
            }
            row->output[channel + i] = row->table != NULL ? row->table[step] : (int8_t)step;
        }
        packed += up ? 12 : 5;
    }
}

INLINE void dsp_tap_pixels(const uint32_t *packed, const struct dsp_tap_row *row, int odd, int up)
{
    struct dsp_tap_row one = *row;
    for (int32_t pixel = 0; pixel < row->pixels; pixel++) {
        dsp_taps(packed, &one, odd, up);
        one.first = one.end + row->input_step;
        one.end += row->end_step;
        one.output += row->output_step;
    }
}

#define DSP_TAPS(name, odd, up)                                                 \
    KERNEL void name(const uint32_t *packed, const struct dsp_tap_row *row)     \
    {                                                                           \
        dsp_tap_pixels(packed, row, odd, up);                                   \
    }
DSP_TAPS(dsp_even_taps, 0, 0)
DSP_TAPS(dsp_even_taps_up, 0, 1)
DSP_TAPS(dsp_odd_taps, 1, 0)
DSP_TAPS(dsp_odd_taps_up, 1, 1)
#define dsp_odd_taps_nine dsp_odd_taps
#define dsp_odd_taps_nine_up dsp_odd_taps_up
#define dsp_odd_taps_eights dsp_odd_taps
#define dsp_odd_taps_eights_up dsp_odd_taps_up
#endif

/* One row of a depthwise convolution, four channels at a time. rows[i] is NULL in the padding; scratch holds one
 * input pixel, taps a pointer a tap. */
KERNEL void dsp_depthwise(const struct dsp_depthwise *layer, const int8_t *const *rows, int8_t *output, int8_t *scratch,
                          const int8_t **taps)
{
    const struct geometry *const geometry = &layer->geometry;
    const int32_t count = geometry->kernel_rows * geometry->kernel_columns, channels = geometry->input_channels;
    const int32_t fours = channels & ~3, step = geometry->stride * channels;
    struct dsp_tap_row row = {taps, taps + (count & ~1), layer->zero_point, layer->table != NULL ? layer->table + 128 : NULL, fours,
                              output, 0, 1, step - fours, step, channels - step};
    fill_pixel(scratch, channels, geometry->pad_value);
    const int whole = all_rows_are_there(geometry, rows);
    for (int32_t column = 0; column < geometry->output_columns; column += row.pixels) {
        const int32_t left = column * geometry->stride - geometry->pad_left;
        const int32_t room = geometry->input_columns - 1 - left - (geometry->kernel_columns - 1) * geometry->dilation;
        row.pixels = 1;
        if (whole && left >= 0 && room >= 0) {
            const int32_t most = geometry->output_columns - column, fitting = room / geometry->stride + 1;
            row.pixels = fitting < most ? fitting : most;
        }
        move_taps(geometry, rows, column, scratch, taps);
        row.output = output + column * channels;
        layer->channels(layer->packed, &row);
        if (channels != fours) {
            /* Whole fours, then the last four. */
            struct dsp_tap_row last = row;
            last.first = channels - 4;
            last.end = channels;
            last.input_step = step - 4;
            layer->channels(layer->packed + (channels >> 2) * layer->words, &last);
        }
    }
}
