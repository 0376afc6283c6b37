struct dsp_pointwise {
    /* For each pair of output channels: two doubled biases with -input_zero_point * sum(weights); depth / 4 times
     * four weights of either channel; two multipliers; two right shifts, 1 … 31, in the low bytes. */
    const uint32_t *packed;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t depth;       /* input channels rounded up to 8 */
    int32_t input_channels, output_channels, zero_point;
    int32_t round_once; /* as LiteRT's FULLY_CONNECTED does, and no other op */
};

/* Two pixels under way, right behind their widened steps; the assembly below reads it by offset. */
struct tile_row {
    int32_t zero_point;         /* 0 */
    const int8_t *table;        /* 4: at step 0 */
    int8_t *output, *next;      /* 8, 12 */
    const int16_t *wide;        /* 16 */
    const uint32_t *packed_end; /* 20 */
};

/* Doubles `count` steps to int16 in the order 0 2 1 3 of each four, and fills up to `depth` with zeros. */
INLINE void widen(const int8_t *input, int16_t *wide, int32_t count, int32_t depth)
{
    int32_t i = 0;
#if DSP
    for (; i + 4 <= count; i += 4) {
        uint32_t even, odd;
        __asm__ volatile("ldr %[even], [%[input]], #4\n\t"
                         "sxtb16 %[odd], %[even], ror #8\n\t"
                         "sxtb16 %[even], %[even]\n\t"
                         "sadd16 %[odd], %[odd], %[odd]\n\t"
                         "sadd16 %[even], %[even], %[even]\n\t"
                         "strd %[even], %[odd], [%[wide]], #8"
                         : [even] "=&r"(even), [odd] "=&r"(odd), [input] "+&r"(input), [wide] "+&r"(wide)
                         :
                         : "memory");
    }
    input -= i;
    wide -= i;
#endif
    for (; i < depth; i++) {
        const int32_t place = (i & ~3) | (i & 1) << 1 | (i >> 1 & 1);
        wide[place] = (int16_t)(i < count ? 2 * input[i] : 0);
    }
}

#if DSP
/* Defines a function for all output channels of two widened pixels, two by two. `high` multiplies, with a rounding of its
 * own or not; `round` shifts. Sums are in r4 r5 and r6 r7; r0 walks along the weights, r1 and
 * r2 along the pixels, of which the second begins at r3 and ends at the row. */
#define TILES(name, high, round)                                                                                       \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,          \
                                                              __attribute__((unused)) struct tile_row *row,            \
                                                              __attribute__((unused)) const int16_t *middle)           \
    {                                                                                                                  \
        __asm__("push {r3-r11, lr}\n\t"                                                                                \
                "mov r3, r2\n\t"                                                                                       \
                "mov r2, r1\n"                                                                                         \
                "1:\n\t"                                                                                               \
                "ldr r1, [r2, #16]\n\t"                                                                                \
                "ldrd r4, r5, [r0], #8\n\t"                                                                            \
                "mov r2, r3\n\t"                                                                                       \
                "mov r6, r4\n\t"                                                                                       \
                "mov r7, r5\n"                                                                                         \
                "2:\n\t"                                                                                               \
                ".rept 2\n\t"                                                                                          \
                "ldrd r8, r9, [r0], #8\n\t"                                                                            \
                "ldrd r12, lr, [r1], #8\n\t"                                                                           \
                "sxtb16 r10, r8\n\t"                                                                                   \
                "sxtb16 r8, r8, ror #8\n\t"                                                                            \
                "sxtb16 r11, r9\n\t"                                                                                   \
                "sxtb16 r9, r9, ror #8\n\t"                                                                            \
                "smlad r4, r10, r12, r4\n\t"                                                                           \
                "smlad r5, r11, r12, r5\n\t"                                                                           \
                "smlad r4, r8, lr, r4\n\t"                                                                             \
                "smlad r5, r9, lr, r5\n\t"                                                                             \
                "ldrd r12, lr, [r2], #8\n\t"                                                                           \
                "smlad r6, r10, r12, r6\n\t"                                                                           \
                "smlad r7, r11, r12, r7\n\t"                                                                           \
                "smlad r6, r8, lr, r6\n\t"                                                                             \
                "smlad r7, r9, lr, r7\n\t"                                                                             \
                ".endr\n\t"                                                                                            \
                "cmp r1, r3\n\t"                                                                                       \
                "bne 2b\n\t"                                                                                           \
                "ldrd r8, r9, [r0], #8\n\t"                                                                            \
                "ldr r10, [r0], #4\n\t"                                                                                \
                "ldrd r12, r1, [r2]\n\t"                                                                               \
                high " r4, r4, r8\n\t"                                                                                 \
                high " r6, r6, r8\n\t"                                                                                 \
                high " r5, r5, r9\n\t"                                                                                 \
                high " r7, r7, r9\n\t"                                                                                 \
                "lsr r11, r10, #8\n\t" round("r4", "r10", "r12") round("r6", "r10", "r12") round("r5", "r11", "r12")   \
                round("r7", "r11", "r12")                                                                              \
                "cbz r1, 3f\n\t"                                                                                       \
                "ldrsb r4, [r1, r4]\n\t"                                                                               \
                "ldrsb r5, [r1, r5]\n\t"                                                                               \
                "ldrsb r6, [r1, r6]\n\t"                                                                               \
                "ldrsb r7, [r1, r7]\n"                                                                                 \
                "3:\n\t"                                                                                               \
                "ldrd r8, r9, [r2, #8]\n\t"                                                                            \
                "ldr r10, [r2, #20]\n\t"                                                                               \
                "strb r4, [r8], #1\n\t"                                                                                \
                "strb r5, [r8], #1\n\t"                                                                                \
                "strb r6, [r9], #1\n\t"                                                                                \
                "strb r7, [r9], #1\n\t"                                                                                \
                "strd r8, r9, [r2, #8]\n\t"                                                                            \
                "cmp r0, r10\n\t"                                                                                      \
                "bne 1b\n\t"                                                                                           \
                "pop {r3-r11, pc}");                                                                                   \
    }
TILES(dsp_tiles, "smmulr", ROUND)
TILES(dsp_tiles_once, "smmul", ROUND_UP)
#else
static void tiles(const uint32_t *packed, struct tile_row *row, const int16_t *middle, int once)
{
    const int32_t depth = (int32_t)(middle - row->wide);
    for (; packed != row->packed_end; packed += 5 + depth / 2) {
        for (int32_t i = 0; i < 4; i++) {
            const int16_t *const wide = row->wide + (i >> 1) * depth;
            uint32_t sum = packed[i & 1];
            for (int32_t k = 0; k < depth; k++) {
                const uint32_t weights = packed[2 + (k >> 2) * 2 + (i & 1)];
                const int32_t place = (k & ~3) | (k & 1) << 1 | (k >> 1 & 1);
                sum += (uint32_t)((int8_t)(weights >> 8 * (k & 3) & 0xFFu) * wide[place]);
            }
            const uint32_t *const tail = packed + 2 + depth / 2;
            const int32_t shift = (int32_t)(tail[2] >> 8 * (i & 1) & 0xFFu);
            const int32_t step = (once ? requantize_once_doubled : requantize_doubled)((int32_t)sum, (int32_t)tail[i & 1],
                                                                                       shift, row->zero_point);
            *(i < 2 ? row->output++ : row->next++) = row->table != NULL ? row->table[step] : (int8_t)step;
        }
    }
}

#define dsp_tiles(packed, row, middle) tiles(packed, row, middle, 0)
#define dsp_tiles_once(packed, row, middle) tiles(packed, row, middle, 1)
#endif

/* A dense 1x1 convolution of a run of pixels, two pixels and two output channels at a time. scratch holds two
 * widened pixels, a tile_row, and two output pixels where the channels are odd. */
KERNEL void dsp_pointwise(const struct dsp_pointwise *layer, const int8_t *input, int8_t *output, int32_t pixels,
                          int8_t *scratch)
{
    const int32_t depth = layer->depth, channels = layer->output_channels, even = (channels + 1) & ~1;
    int16_t *const wide = (int16_t *)(void *)scratch;
    struct tile_row *const row = (struct tile_row *)(void *)(wide + 2 * depth);
    int8_t *const spare = (int8_t *)(row + 1);
    row->zero_point = layer->zero_point;
    row->table = layer->table != NULL ? layer->table + 128 : NULL;
    row->wide = wide;
    row->packed_end = layer->packed + (even / 2) * (5 + depth / 2);
    for (; pixels > 0; pixels -= 2) {
        widen(input, wide, layer->input_channels, depth);
        /* The last pixel of an odd run is computed twice. */
        const int32_t step = pixels > 1;
        widen(input + step * layer->input_channels, wide + depth, layer->input_channels, depth);
        row->output = channels == even ? output : spare;
        row->next = channels == even ? output + step * channels : spare + even;
        if (layer->round_once) {
            dsp_tiles_once(layer->packed, row, wide + depth);
        } else {
            dsp_tiles(layer->packed, row, wide + depth);
        }
        for (int32_t i = 0; i < channels && channels != even; i++) {
            output[i] = spare[i];
            output[step * channels + i] = spare[even + i];
        }
        input += 2 * layer->input_channels;
        output += 2 * channels;
    }
}
