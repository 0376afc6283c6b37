struct dsp_pointwise {
    /* For each pair of output channels: two doubled biases with -input_zero_point * sum(weights); depth / 4 times
     * four weights of either channel; two multipliers; two right shifts, 1 … 31, in the low bytes. */
    const uint32_t *packed;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t depth;       /* input channels rounded up to 8 */
    int32_t input_channels, output_channels, zero_point;
};

/* What the inner loop needs but has no register for; it lies right behind the two widened pixels. */
struct tile_row {
    int32_t zero_point;
    const int8_t *table; /* at step 0 */
    int8_t *output, *next;
    const int16_t *wide;
    const uint32_t *packed_end;
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

/* All output channels of two widened pixels, two by two. */
INLINE void dsp_tiles(const struct dsp_pointwise *layer, struct tile_row *row)
{
    const int32_t depth = layer->depth;
    const uint32_t *packed = layer->packed;
#if DSP
    const int16_t *x, *y = (const int16_t *)(void *)row, *const middle = row->wide + depth;
    int32_t a0, a1, b0, b1;
    uint32_t w0, w1, t0, t1, x0, x1;
    __asm__ volatile("1:\n\t"
                     "ldr %[x], [%[y], #16]\n\t"
                     "ldrd %[a0], %[a1], [%[w]], #8\n\t"
                     "mov %[y], %[middle]\n\t"
                     "mov %[b0], %[a0]\n\t"
                     "mov %[b1], %[a1]\n"
                     "2:\n\t"
                     ".rept 2\n\t"
                     "ldrd %[w0], %[w1], [%[w]], #8\n\t"
                     "ldrd %[x0], %[x1], [%[x]], #8\n\t"
                     "sxtb16 %[t0], %[w0]\n\t"
                     "sxtb16 %[w0], %[w0], ror #8\n\t"
                     "sxtb16 %[t1], %[w1]\n\t"
                     "sxtb16 %[w1], %[w1], ror #8\n\t"
                     "smlad %[a0], %[t0], %[x0], %[a0]\n\t"
                     "smlad %[a1], %[t1], %[x0], %[a1]\n\t"
                     "smlad %[a0], %[w0], %[x1], %[a0]\n\t"
                     "smlad %[a1], %[w1], %[x1], %[a1]\n\t"
                     "ldrd %[x0], %[x1], [%[y]], #8\n\t"
                     "smlad %[b0], %[t0], %[x0], %[b0]\n\t"
                     "smlad %[b1], %[t1], %[x0], %[b1]\n\t"
                     "smlad %[b0], %[w0], %[x1], %[b0]\n\t"
                     "smlad %[b1], %[w1], %[x1], %[b1]\n\t"
                     ".endr\n\t"
                     "cmp %[x], %[middle]\n\t"
                     "bne 2b\n\t"
                     /* y now points at the row: multipliers, shifts, then the zero point and the table. */
                     "ldrd %[w0], %[w1], [%[w]], #8\n\t"
                     "ldr %[t0], [%[w]], #4\n\t"
                     "ldrd %[x0], %[x1], [%[y]]\n\t"
                     "lsr %[t1], %[t0], #8\n\t"
                     "smmulr %[a0], %[a0], %[w0]\n\t"
                     "smmulr %[b0], %[b0], %[w0]\n\t"
                     "smmulr %[a1], %[a1], %[w1]\n\t"
                     "smmulr %[b1], %[b1], %[w1]\n\t" ROUND("%[a0]", "%[t0]", "%[x0]") ROUND("%[b0]", "%[t0]", "%[x0]")
                         ROUND("%[a1]", "%[t1]", "%[x0]") ROUND("%[b1]", "%[t1]", "%[x0]")
                     "cbz %[x1], 3f\n\t"
                     "ldrsb %[a0], [%[x1], %[a0]]\n\t"
                     "ldrsb %[b0], [%[x1], %[b0]]\n\t"
                     "ldrsb %[a1], [%[x1], %[a1]]\n\t"
                     "ldrsb %[b1], [%[x1], %[b1]]\n"
                     "3:\n\t"
                     "ldrd %[x0], %[x1], [%[y], #8]\n\t"
                     "ldr %[t0], [%[y], #20]\n\t"
                     "strb %[a0], [%[x0]], #1\n\t"
                     "strb %[a1], [%[x0]], #1\n\t"
                     "strb %[b0], [%[x1]], #1\n\t"
                     "strb %[b1], [%[x1]], #1\n\t"
                     "strd %[x0], %[x1], [%[y], #8]\n\t"
                     "cmp %[w], %[t0]\n\t"
                     "bne 1b"
                     : [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0), [b1] "=&r"(b1), [w] "+&r"(packed), [x] "=&r"(x),
                       [y] "+&r"(y), [w0] "=&r"(w0), [w1] "=&r"(w1), [t0] "=&r"(t0), [t1] "=&r"(t1), [x0] "=&r"(x0),
                       [x1] "=&l"(x1)
                     : [middle] "r"(middle)
                     : "cc", "memory");
#else
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
            const int32_t step = requantize_doubled((int32_t)sum, (int32_t)tail[i & 1], shift, row->zero_point);
            *(i < 2 ? row->output++ : row->next++) = row->table != NULL ? row->table[step] : (int8_t)step;
        }
    }
#endif
}

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
        dsp_tiles(layer, row);
        for (int32_t i = 0; i < channels && channels != even; i++) {
            output[i] = spare[i];
            output[step * channels + i] = spare[even + i];
        }
        input += 2 * layer->input_channels;
        output += 2 * channels;
    }
}
