struct dsp_tile_row;
/* Makes all output channels of the widened pixels at row->wide, which end at wide_end. */
typedef void dsp_tile(const uint32_t *packed, struct dsp_tile_row *row, const int16_t *wide_end);

struct dsp_pointwise {
    /* For each pair of output channels: two doubled biases with -input_zero_point * sum(weights); depth / 4 times
     * four weights of either channel, as bytes, or doubled as int16 in the order 1 3 of either channel, then 0 2; two
     * multipliers; where ties go up, two words (zero_point + 1/2) * 2^shift; two right shifts, 1 … 31. */
    const uint32_t *packed, *packed_end;
    dsp_tile *three_pixels, *one_pixel; /* for how the weights are packed and how steps are rounded */
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t depth;       /* input channels rounded up to 8, or 12 or 28 */
    int32_t input_channels, output_channels, zero_point;
    int32_t round_once; /* as LiteRT's FULLY_CONNECTED does, and no other op; one pixel at a time */
    int32_t times;      /* 2 where input steps are doubled, 1 where the weights are */
};

/* Three pixels, or one, under way; the assembly below reads it by offset. */
struct dsp_tile_row {
    int32_t zero_point;         /* 0 */
    const int8_t *table;        /* 4: at step 0 */
    int8_t *output;             /* 8 */
    int32_t stride;             /* 12: bytes from one output pixel to the next */
    const int16_t *wide;        /* 16: the widened pixels, four channels of each in turn */
    const uint32_t *packed_end; /* 20 */
};

#if DSP
#define DOUBLE                                  \
    "sadd16 %[odd], %[odd], %[odd]\n\t"         \
    "sadd16 %[even], %[even], %[even]\n\t"
#define WIDEN(input, twice)                                 \
    "ldr %[even], [" input "], #4\n\t"                      \
    "sxtb16 %[odd], %[even], ror #8\n\t"                    \
    "sxtb16 %[even], %[even]\n\t" twice                     \
    "strd %[even], %[odd], [%[wide]], #8\n\t"
#define NEXT "subs %[fours], %[fours], #1\n\tbne 1b"
#define WIDEN_ONE(twice)                                                                                \
    __asm__ volatile("1:\n\t" WIDEN("%[input]", twice) NEXT                                             \
                     : [even] "=&r"(even), [odd] "=&r"(odd), [input] "+&r"(input), [wide] "+&r"(wide),  \
                       [fours] "+&r"(fours)                                                             \
                     :                                                                                  \
                     : "memory", "cc")
#define WIDEN_THREE(twice)                                                                              \
    __asm__ volatile("1:\n\t" WIDEN("%[input]", twice) WIDEN("%[second]", twice) WIDEN("%[third]", twice) NEXT \
                     : [even] "=&r"(even), [odd] "=&r"(odd), [input] "+&r"(input), [second] "+&r"(second), \
                       [third] "+&r"(third), [wide] "+&r"(wide), [fours] "+&r"(fours)                   \
                     :                                                                                  \
                     : "memory", "cc")
#endif

/* Widens `count` steps of each of 3 pixels side by side, or of 1, to int16, doubled or not, in the order 0 2 1 3 of each four,
 * and fills up to `depth` with zeros. Every four steps are followed by those of the other pixels. */
INLINE void widen(const int8_t *input, int16_t *wide, int32_t count, int32_t depth, int32_t pixels, int32_t times)
{
    int32_t fours = count >> 2;
    const int32_t rest = count & 3, pixel = count;
    depth -= count & ~3;
#if DSP
    uint32_t even, odd;
    const int8_t *second = input + pixel, *third = second + pixel;
    if (fours > 0 && pixels == 3 && times == 2) {
        WIDEN_THREE(DOUBLE);
    } else if (fours > 0 && pixels == 3) {
        WIDEN_THREE("");
    } else if (fours > 0 && times == 2) {
        WIDEN_ONE(DOUBLE);
    } else if (fours > 0) {
        WIDEN_ONE("");
    }
#else
    for (; fours > 0; fours--, input += 4, wide += 4 * pixels) {
        for (int32_t i = 0; i < 4 * pixels; i++) {
            wide[(i & ~3) | (i & 1) << 1 | (i >> 1 & 1)] = (int16_t)(times * input[(i >> 2) * pixel + (i & 3)]);
        }
    }
#endif
    for (int32_t count_left = rest; depth > 0; depth -= 4, count_left = 0, wide += 4 * pixels) {
        for (int32_t i = 0; i < pixels; i++) {
            int16_t *const four = wide + 4 * i;
            four[0] = four[1] = four[2] = four[3] = 0;
            for (int32_t k = 0; k < count_left; k++) {
                four[(k & 1) << 1 | k >> 1] = (int16_t)(times * input[i * pixel + k]);
            }
        }
    }
}

#if DSP
/* r8 r9 r10 r11: four weights of two channels, widened; r12 lr: four steps of the next pixel. */
#define WEIGHTS                        \
    "ldrd r8, r9, [r0], #8\n\t"        \
    "sxtb16 r10, r8\n\t"               \
    "sxtb16 r8, r8, ror #8\n\t"        \
    "sxtb16 r11, r9\n\t"               \
    "sxtb16 r9, r9, ror #8\n\t"
/* The same from weights that are packed as int16. */
#define WIDE_WEIGHTS "ldm r0!, {r8-r11}\n\t"
#define PIXEL(first, second)                                   \
    "ldrd r12, lr, [r1], #8\n\t"                               \
    "smlad " first ", r10, r12, " first "\n\t"                 \
    "smlad " second ", r11, r12, " second "\n\t"               \
    "smlad " first ", r8, lr, " first "\n\t"                   \
    "smlad " second ", r9, lr, " second "\n\t"
/* From the sums of one pixel or three to steps, and the table to lr: multipliers come first, then what else is packed. */
#define SCALE(high, round, first, second)                                        \
    high " " first ", " first ", r8\n\t" high " " second ", " second ", r9\n\t"   \
    round(first, "r10", "r12") round(second, "r11", "r12")
#define ONE_STEPS(row, high, round) "ldm r0!, {r8-r11}\n\tldrd r12, lr, [" row "]\n\t" SCALE(high, round, "r2", "r3")
#define ONE_AWAY ONE_STEPS("r7", "smmulr", ROUND)
#define ONE_ONCE ONE_STEPS("r7", "smmul", ROUND_UP)
#define THREE_AWAY                                                                          \
    ONE_STEPS("sp", "smmulr", ROUND) SCALE("smmulr", ROUND, "r4", "r5") SCALE("smmulr", ROUND, "r6", "r7")
/* One multiplication adds what makes the shift round up and the zero point; then r8 r9 are the shifts. */
#define MULTIPLY_UP(first, second)                         \
    "smmlar " first ", " first ", r8, r10\n\t"             \
    "smmlar " second ", " second ", r9, r11\n\t"
#define SHIFT_UP(first, second)                            \
    "asr " first ", " first ", r8\n\t"                     \
    "asr " second ", " second ", r9\n\t"                   \
    "ssat " first ", #8, " first "\n\t"                    \
    "ssat " second ", #8, " second "\n\t"
#define SHIFTS(row) "ldrd r8, r9, [r0], #8\n\tldr lr, [" row ", #4]\n\t"
#define ONE_UP "ldm r0!, {r8-r11}\n\t" MULTIPLY_UP("r2", "r3") SHIFTS("r7") SHIFT_UP("r2", "r3")
#define THREE_UP                                                                                                   \
    "ldm r0!, {r8-r11}\n\t" MULTIPLY_UP("r2", "r3") MULTIPLY_UP("r4", "r5") MULTIPLY_UP("r6", "r7") SHIFTS("sp")   \
    SHIFT_UP("r2", "r3") SHIFT_UP("r4", "r5") SHIFT_UP("r6", "r7")
#define LOOK_UP(first, second) "ldrsb " first ", [lr, " first "]\n\tldrsb " second ", [lr, " second "]\n\t"

/* All output channels of three widened pixels, two by two; `unroll` times four input channels a turn. Sums are in r2 r3,
 * r4 r5 and r6 r7; r0 walks along the weights, r1 along the pixels. A copy of the row and the end of the pixels are on the stack. */
#define THREE_PIXELS(name, weights, unroll, steps)                                                                     \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,          \
                                                              __attribute__((unused)) struct dsp_tile_row *row,            \
                                                              __attribute__((unused)) const int16_t *wide_end)         \
    {                                                                                                                  \
        __asm__("push {r4-r11, lr}\n\t"                                                                                \
                "mov r12, r2\n\t"                                                                                      \
                "ldm r1, {r2-r7}\n\t"                                                                                  \
                "push {r2-r7, r12}\n"                                                                                  \
                "1:\n\t"                                                                                               \
                "ldr r1, [sp, #16]\n\t"                                                                                \
                "ldrd r4, r5, [r0]\n\t"                                                                                \
                "ldrd r6, r7, [r0]\n\t"                                                                                \
                "ldrd r2, r3, [r0], #8\n"                                                                              \
                "2:\n\t"                                                                                               \
                ".rept " unroll "\n\t" weights PIXEL("r2", "r3") PIXEL("r4", "r5") PIXEL("r6", "r7") ".endr\n\t"      \
                "ldr r12, [sp, #24]\n\t"                                                                               \
                "cmp r1, r12\n\t"                                                                                      \
                "bne 2b\n\t"                                                                                           \
                steps                                                                                                  \
                "cmp lr, #0\n\t"                                                                                       \
                "beq 3f\n\t" LOOK_UP("r2", "r3") LOOK_UP("r4", "r5") LOOK_UP("r6", "r7")                               \
                "3:\n\t"                                                                                               \
                "ldrd r8, r9, [sp, #8]\n\t"                                                                            \
                "ldr r10, [sp, #20]\n\t"                                                                               \
                "bfi r2, r3, #8, #8\n\t"                                                                               \
                "bfi r4, r5, #8, #8\n\t"                                                                               \
                "bfi r6, r7, #8, #8\n\t"                                                                               \
                "strh r4, [r8, r9]\n\t"                                                                                \
                "strh r6, [r8, r9, lsl #1]\n\t"                                                                        \
                "strh r2, [r8], #2\n\t"                                                                                \
                "str r8, [sp, #8]\n\t"                                                                                 \
                "cmp r0, r10\n\t"                                                                                      \
                "bne 1b\n\t"                                                                                           \
                "add sp, #28\n\t"                                                                                      \
                "pop {r4-r11, pc}");                                                                                   \
    }
/* _wide: weights as int16. _3, _4, _7, _8: so many times four input channels a turn, else two. _up: ties go up, which differs
 * for steps below the zero point alone, and there is none. */
THREE_PIXELS(dsp_three_pixels, WEIGHTS, "2", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_up, WEIGHTS, "2", THREE_UP)
THREE_PIXELS(dsp_three_pixels_3, WEIGHTS, "3", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_3_up, WEIGHTS, "3", THREE_UP)
THREE_PIXELS(dsp_three_pixels_4, WEIGHTS, "4", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_4_up, WEIGHTS, "4", THREE_UP)
THREE_PIXELS(dsp_three_pixels_7, WEIGHTS, "7", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_7_up, WEIGHTS, "7", THREE_UP)
THREE_PIXELS(dsp_three_pixels_wide, WIDE_WEIGHTS, "2", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_wide_up, WIDE_WEIGHTS, "2", THREE_UP)
THREE_PIXELS(dsp_three_pixels_wide_3, WIDE_WEIGHTS, "3", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_wide_3_up, WIDE_WEIGHTS, "3", THREE_UP)
THREE_PIXELS(dsp_three_pixels_wide_4, WIDE_WEIGHTS, "4", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_wide_4_up, WIDE_WEIGHTS, "4", THREE_UP)
THREE_PIXELS(dsp_three_pixels_wide_7, WIDE_WEIGHTS, "7", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_wide_7_up, WIDE_WEIGHTS, "7", THREE_UP)
THREE_PIXELS(dsp_three_pixels_8, WEIGHTS, "8", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_8_up, WEIGHTS, "8", THREE_UP)
THREE_PIXELS(dsp_three_pixels_wide_8, WIDE_WEIGHTS, "8", THREE_AWAY)
THREE_PIXELS(dsp_three_pixels_wide_8_up, WIDE_WEIGHTS, "8", THREE_UP)

/* The same for one pixel, which ends at r6; r7 is the row. */
#define ONE_PIXEL(name, weights, unroll, steps)                                                                                      \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,          \
                                                              __attribute__((unused)) struct dsp_tile_row *row,            \
                                                              __attribute__((unused)) const int16_t *wide_end)         \
    {                                                                                                                  \
        __asm__("push {r3-r11, lr}\n\t"                                                                                \
                "mov r7, r1\n\t"                                                                                       \
                "mov r6, r2\n"                                                                                         \
                "1:\n\t"                                                                                               \
                "ldr r1, [r7, #16]\n\t"                                                                                \
                "ldrd r2, r3, [r0], #8\n"                                                                              \
                "2:\n\t"                                                                                               \
                ".rept " unroll "\n\t" weights PIXEL("r2", "r3") ".endr\n\t"                                           \
                "cmp r1, r6\n\t"                                                                                       \
                "bne 2b\n\t"                                                                                           \
                steps                                                                                                  \
                "cmp lr, #0\n\t"                                                                                       \
                "beq 3f\n\t" LOOK_UP("r2", "r3")                                                                       \
                "3:\n\t"                                                                                               \
                "ldr r8, [r7, #8]\n\t"                                                                                 \
                "ldr r10, [r7, #20]\n\t"                                                                               \
                "bfi r2, r3, #8, #8\n\t"                                                                               \
                "strh r2, [r8], #2\n\t"                                                                                \
                "str r8, [r7, #8]\n\t"                                                                                 \
                "cmp r0, r10\n\t"                                                                                      \
                "bne 1b\n\t"                                                                                           \
                "pop {r3-r11, pc}");                                                                                   \
    }
ONE_PIXEL(dsp_one_pixel, WEIGHTS, "2", ONE_AWAY)
ONE_PIXEL(dsp_one_pixel_up, WEIGHTS, "2", ONE_UP)
ONE_PIXEL(dsp_one_pixel_odd, WEIGHTS, "1", ONE_AWAY)
ONE_PIXEL(dsp_one_pixel_odd_up, WEIGHTS, "1", ONE_UP)
ONE_PIXEL(dsp_one_pixel_wide, WIDE_WEIGHTS, "2", ONE_AWAY)
ONE_PIXEL(dsp_one_pixel_wide_up, WIDE_WEIGHTS, "2", ONE_UP)
ONE_PIXEL(dsp_one_pixel_wide_odd, WIDE_WEIGHTS, "1", ONE_AWAY)
ONE_PIXEL(dsp_one_pixel_wide_odd_up, WIDE_WEIGHTS, "1", ONE_UP)
ONE_PIXEL(dsp_one_pixel_once, WEIGHTS, "2", ONE_ONCE)
#else
/* The weight of input channel k of either channel of a pair; `words` are those of the pair. */
INLINE int32_t dsp_weight(const uint32_t *words, int32_t k, int32_t channel, int wide)
{
    const uint32_t *const four = words + (k >> 2) * (wide ? 4 : 2);
    return wide ? (int16_t)(four[(k & 1 ? 0 : 2) + channel] >> 16 * (k >> 1 & 1) & 0xFFFFu)
                : (int8_t)(four[channel] >> 8 * (k & 3) & 0xFFu);
}

enum dsp_rounding { DSP_AWAY, DSP_UP, DSP_ONCE };

INLINE void dsp_pixels(const uint32_t *packed, struct dsp_tile_row *row, const int16_t *wide_end, int32_t pixels,
                       enum dsp_rounding how, int wide)
{
    const int32_t depth = (int32_t)(wide_end - row->wide) / pixels, words = wide ? depth : depth / 2;
    for (; packed != row->packed_end; packed += (how == DSP_UP ? 8 : 6) + words, row->output += 2) {
        for (int32_t i = 0; i < 2 * pixels; i++) {
            uint32_t sum = packed[i & 1];
            for (int32_t k = 0; k < depth; k++) {
                const int32_t place = ((k >> 2) * pixels + (i >> 1)) * 4 + ((k & 1) << 1 | (k >> 1 & 1));
                sum += (uint32_t)(dsp_weight(packed + 2, k, i & 1, wide) * row->wide[place]);
            }
            const uint32_t *const tail = packed + 2 + words;
            int32_t step;
            if (how == DSP_UP) {
                step = (high_multiply((int32_t)sum, (int32_t)tail[i & 1]) + (int32_t)tail[2 + (i & 1)]) >> tail[4 + (i & 1)];
                step = step < -128 ? -128 : step > 127 ? 127 : step;
            } else {
                const int32_t shift = (int32_t)tail[2 + (i & 1)];
                step = (how == DSP_ONCE ? requantize_once_doubled : requantize_doubled)((int32_t)sum, (int32_t)tail[i & 1], shift,
                                                                                        row->zero_point);
            }
            row->output[(i >> 1) * row->stride + (i & 1)] = row->table != NULL ? row->table[step] : (int8_t)step;
        }
    }
}

#define PIXELS(name, pixels, how, wide)                                                                    \
    KERNEL void name(const uint32_t *packed, struct dsp_tile_row *row, const int16_t *wide_end)            \
    {                                                                                                      \
        dsp_pixels(packed, row, wide_end, pixels, how, wide);                                              \
    }
PIXELS(dsp_three_pixels, 3, DSP_AWAY, 0)
PIXELS(dsp_three_pixels_up, 3, DSP_UP, 0)
PIXELS(dsp_three_pixels_wide, 3, DSP_AWAY, 1)
PIXELS(dsp_three_pixels_wide_up, 3, DSP_UP, 1)
PIXELS(dsp_one_pixel, 1, DSP_AWAY, 0)
PIXELS(dsp_one_pixel_up, 1, DSP_UP, 0)
PIXELS(dsp_one_pixel_wide, 1, DSP_AWAY, 1)
PIXELS(dsp_one_pixel_wide_up, 1, DSP_UP, 1)
PIXELS(dsp_one_pixel_once, 1, DSP_ONCE, 0)
#define dsp_three_pixels_3 dsp_three_pixels
#define dsp_three_pixels_3_up dsp_three_pixels_up
#define dsp_three_pixels_4 dsp_three_pixels
#define dsp_three_pixels_4_up dsp_three_pixels_up
#define dsp_three_pixels_7 dsp_three_pixels
#define dsp_three_pixels_7_up dsp_three_pixels_up
#define dsp_three_pixels_8 dsp_three_pixels
#define dsp_three_pixels_8_up dsp_three_pixels_up
#define dsp_three_pixels_wide_3 dsp_three_pixels_wide
#define dsp_three_pixels_wide_3_up dsp_three_pixels_wide_up
#define dsp_three_pixels_wide_4 dsp_three_pixels_wide
#define dsp_three_pixels_wide_4_up dsp_three_pixels_wide_up
#define dsp_three_pixels_wide_7 dsp_three_pixels_wide
#define dsp_three_pixels_wide_7_up dsp_three_pixels_wide_up
#define dsp_three_pixels_wide_8 dsp_three_pixels_wide
#define dsp_three_pixels_wide_8_up dsp_three_pixels_wide_up
#define dsp_one_pixel_odd dsp_one_pixel
#define dsp_one_pixel_odd_up dsp_one_pixel_up
#define dsp_one_pixel_wide_odd dsp_one_pixel_wide
#define dsp_one_pixel_wide_odd_up dsp_one_pixel_wide_up
#endif

/* A dense 1x1 convolution of a run of pixels, three pixels and two output channels at a time. scratch holds three widened
 * pixels, and three output pixels where the channels are odd; with round_once one of each. */
KERNEL void dsp_pointwise(const struct dsp_pointwise *layer, const int8_t *input, int8_t *output, int32_t pixels,
                          int8_t *scratch)
{
    const int32_t depth = layer->depth, channels = layer->output_channels, even = (channels + 1) & ~1;
    int16_t *const wide = (int16_t *)(void *)scratch;
    int8_t *const spare = scratch + (layer->round_once ? 2 : 6) * depth;
    struct dsp_tile_row row = {layer->zero_point, layer->table != NULL ? layer->table + 128 : NULL, NULL, even, wide,
                           layer->packed_end};
    while (pixels > 0) {
        const int32_t step = pixels >= 3 && !layer->round_once ? 3 : 1;
        row.output = channels == even ? output : spare;
        if (step == 3) {
            widen(input, wide, layer->input_channels, depth, 3, layer->times);
            layer->three_pixels(layer->packed, &row, wide + 3 * depth);
        } else {
            widen(input, wide, layer->input_channels, depth, 1, layer->times);
            layer->one_pixel(layer->packed, &row, wide + depth);
        }
        for (int32_t i = 0; i < step * channels && channels != even; i++) {
            output[i] = spare[i / channels * even + i % channels];
        }
        input += step * layer->input_channels;
        output += step * channels;
        pixels -= step;
    }
}
