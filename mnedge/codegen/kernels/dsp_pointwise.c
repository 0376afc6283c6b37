struct dsp_pointwise {
    /* For each pair of output channels: two doubled biases with -input_zero_point * sum(weights); depth / 4 times
     * four weights of either channel; two multipliers; two right shifts, 1 … 31, in the low bytes. */
    const uint32_t *packed, *packed_end;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t depth;       /* input channels rounded up to 8 */
    int32_t input_channels, output_channels, zero_point;
    int32_t round_once; /* as LiteRT's FULLY_CONNECTED does, and no other op; one pixel at a time */
};

/* Three pixels, or one, under way; the assembly below reads it by offset. */
struct tile_row {
    int32_t zero_point;         /* 0 */
    const int8_t *table;        /* 4: at step 0 */
    int8_t *output;             /* 8 */
    int32_t stride;             /* 12: bytes from one output pixel to the next */
    const int16_t *wide;        /* 16: the widened pixels, four channels of each in turn */
    const uint32_t *packed_end; /* 20 */
};

/* Doubles `count` steps to int16 in the order 0 2 1 3 of each four, and fills up to `depth` with zeros. Every four steps
 * are followed by those of the other `pixels - 1` pixels. */
INLINE void widen(const int8_t *input, int16_t *wide, int32_t count, int32_t depth, int32_t pixels)
{
    uint32_t i = 0;
#if DSP
    for (; i + 4 <= (uint32_t)count; i += 4) {
        uint32_t even, odd;
        __asm__ volatile("ldr %[even], [%[input]], #4\n\t"
                         "sxtb16 %[odd], %[even], ror #8\n\t"
                         "sxtb16 %[even], %[even]\n\t"
                         "sadd16 %[odd], %[odd], %[odd]\n\t"
                         "sadd16 %[even], %[even], %[even]\n\t"
                         "strd %[even], %[odd], [%[wide]]"
                         : [even] "=&r"(even), [odd] "=&r"(odd), [input] "+&r"(input)
                         : [wide] "r"(wide)
                         : "memory");
        wide += 4 * pixels;
    }
    input -= i;
    wide -= i * (uint32_t)pixels;
#endif
    for (; i < (uint32_t)depth; i++) {
        const uint32_t place = (i >> 2) * 4 * (uint32_t)pixels + ((i & 1u) << 1 | (i >> 1 & 1u));
        wide[place] = (int16_t)(i < (uint32_t)count ? 2 * input[i] : 0);
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
#define PIXEL(first, second)                                   \
    "ldrd r12, lr, [r1], #8\n\t"                               \
    "smlad " first ", r10, r12, " first "\n\t"                 \
    "smlad " second ", r11, r12, " second "\n\t"               \
    "smlad " first ", r8, lr, " first "\n\t"                   \
    "smlad " second ", r9, lr, " second "\n\t"
/* Multiplies and rounds both channels of a pixel; r8 r9 are the multipliers, r10 r11 the shifts, r12 the zero point. */
#define SCALE(high, round, first, second)                                        \
    high " " first ", " first ", r8\n\t" high " " second ", " second ", r9\n\t"   \
    round(first, "r10", "r12") round(second, "r11", "r12")
#define LOOK_UP(first, second) "ldrsb " first ", [lr, " first "]\n\tldrsb " second ", [lr, " second "]\n\t"

/* All output channels of three widened pixels, two by two. Sums are in r2 r3, r4 r5 and r6 r7; r0 walks along the weights,
 * r1 along the pixels. The row and the end of the pixels are on the stack. */
__attribute__((naked, noinline, unused)) static void dsp_three_pixels(__attribute__((unused)) const uint32_t *packed,
                                                                      __attribute__((unused)) struct tile_row *row,
                                                                      __attribute__((unused)) const int16_t *wide_end)
{
    __asm__("push {r4-r11, lr}\n\t"
            "push {r1-r3}\n"
            "1:\n\t"
            "ldr r12, [sp]\n\t"
            "ldrd r2, r3, [r0], #8\n\t"
            "ldr r1, [r12, #16]\n\t"
            "mov r4, r2\n\t"
            "mov r5, r3\n\t"
            "mov r6, r2\n\t"
            "mov r7, r3\n"
            "2:\n\t"
            ".rept 2\n\t" WEIGHTS PIXEL("r2", "r3") PIXEL("r4", "r5") PIXEL("r6", "r7") ".endr\n\t"
            "ldr r12, [sp, #4]\n\t"
            "cmp r1, r12\n\t"
            "bne 2b\n\t"
            "ldrd r8, r9, [r0], #8\n\t"
            "ldr r10, [r0], #4\n\t"
            "ldr r1, [sp]\n\t"
            "ldrd r12, lr, [r1]\n\t"
            "lsr r11, r10, #8\n\t" SCALE("smmulr", ROUND, "r2", "r3") SCALE("smmulr", ROUND, "r4", "r5")
            SCALE("smmulr", ROUND, "r6", "r7")
            "cmp lr, #0\n\t"
            "beq 3f\n\t" LOOK_UP("r2", "r3") LOOK_UP("r4", "r5") LOOK_UP("r6", "r7")
            "3:\n\t"
            "ldrd r8, r9, [r1, #8]\n\t"
            "ldr r10, [r1, #20]\n\t"
            "bfi r2, r3, #8, #8\n\t"
            "bfi r4, r5, #8, #8\n\t"
            "bfi r6, r7, #8, #8\n\t"
            "strh r4, [r8, r9]\n\t"
            "strh r6, [r8, r9, lsl #1]\n\t"
            "strh r2, [r8], #2\n\t"
            "str r8, [r1, #8]\n\t"
            "cmp r0, r10\n\t"
            "bne 1b\n\t"
            "add sp, #12\n\t"
            "pop {r4-r11, pc}");
}

/* The same for one pixel, which ends at r6; r7 is the row. */
#define ONE_PIXEL(name, high, round)                                                                                   \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,          \
                                                              __attribute__((unused)) struct tile_row *row,            \
                                                              __attribute__((unused)) const int16_t *wide_end)         \
    {                                                                                                                  \
        __asm__("push {r3-r11, lr}\n\t"                                                                                \
                "mov r7, r1\n\t"                                                                                       \
                "mov r6, r2\n"                                                                                         \
                "1:\n\t"                                                                                               \
                "ldr r1, [r7, #16]\n\t"                                                                                \
                "ldrd r2, r3, [r0], #8\n"                                                                              \
                "2:\n\t"                                                                                               \
                ".rept 2\n\t" WEIGHTS PIXEL("r2", "r3") ".endr\n\t"                                                    \
                "cmp r1, r6\n\t"                                                                                       \
                "bne 2b\n\t"                                                                                           \
                "ldrd r8, r9, [r0], #8\n\t"                                                                            \
                "ldr r10, [r0], #4\n\t"                                                                                \
                "ldrd r12, lr, [r7]\n\t"                                                                               \
                "lsr r11, r10, #8\n\t" SCALE(high, round, "r2", "r3")                                                  \
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
ONE_PIXEL(dsp_one_pixel, "smmulr", ROUND)
ONE_PIXEL(dsp_one_pixel_once, "smmul", ROUND_UP)
#else
static void dsp_pixels(const uint32_t *packed, struct tile_row *row, const int16_t *wide_end, int32_t pixels, int once)
{
    const int32_t depth = (int32_t)(wide_end - row->wide) / pixels;
    for (; packed != row->packed_end; packed += 5 + depth / 2, row->output += 2) {
        for (int32_t i = 0; i < 2 * pixels; i++) {
            uint32_t sum = packed[i & 1];
            for (int32_t k = 0; k < depth; k++) {
                const uint32_t weights = packed[2 + (k >> 2) * 2 + (i & 1)];
                const int32_t place = ((k >> 2) * pixels + (i >> 1)) * 4 + ((k & 1) << 1 | (k >> 1 & 1));
                sum += (uint32_t)((int8_t)(weights >> 8 * (k & 3) & 0xFFu) * row->wide[place]);
            }
            const uint32_t *const tail = packed + 2 + depth / 2;
            const int32_t shift = (int32_t)(tail[2] >> 8 * (i & 1) & 0xFFu);
            const int32_t step = (once ? requantize_once_doubled : requantize_doubled)((int32_t)sum, (int32_t)tail[i & 1],
                                                                                       shift, row->zero_point);
            row->output[(i >> 1) * row->stride + (i & 1)] = row->table != NULL ? row->table[step] : (int8_t)step;
        }
    }
}

#define dsp_three_pixels(packed, row, wide_end) dsp_pixels(packed, row, wide_end, 3, 0)
#define dsp_one_pixel(packed, row, wide_end) dsp_pixels(packed, row, wide_end, 1, 0)
#define dsp_one_pixel_once(packed, row, wide_end) dsp_pixels(packed, row, wide_end, 1, 1)
#endif

/* A dense 1x1 convolution of a run of pixels, three pixels and two output channels at a time. scratch holds three widened
 * pixels, and three output pixels where the channels are odd; with round_once one of each. */
KERNEL void dsp_pointwise(const struct dsp_pointwise *layer, const int8_t *input, int8_t *output, int32_t pixels,
                          int8_t *scratch)
{
    const int32_t depth = layer->depth, channels = layer->output_channels, even = (channels + 1) & ~1;
    int16_t *const wide = (int16_t *)(void *)scratch;
    int8_t *const spare = scratch + (layer->round_once ? 2 : 6) * depth;
    struct tile_row row = {layer->zero_point, layer->table != NULL ? layer->table + 128 : NULL, NULL, even, wide,
                           layer->packed_end};
    while (pixels > 0) {
        const int32_t step = pixels >= 3 && !layer->round_once ? 3 : 1;
        row.output = channels == even ? output : spare;
        if (step == 3) {
            for (int32_t i = 0; i < 3; i++) {
                widen(input + i * layer->input_channels, wide + 4 * i, layer->input_channels, depth, 3);
            }
            dsp_three_pixels(layer->packed, &row, wide + 3 * depth);
        } else {
            widen(input, wide, layer->input_channels, depth, 1);
            if (layer->round_once) {
                dsp_one_pixel_once(layer->packed, &row, wide + depth);
            } else {
                dsp_one_pixel(layer->packed, &row, wide + depth);
            }
        }
        for (int32_t i = 0; i < step * channels && channels != even; i++) {
            output[i] = spare[i / channels * even + i % channels];
        }
        input += step * layer->input_channels;
        output += step * channels;
        pixels -= step;
    }
}
