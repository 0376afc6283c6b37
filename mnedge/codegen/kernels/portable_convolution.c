struct portable_convolution {
    const int8_t *weights; /* for each four output channels their weights side by side, HWI; those of the rest OHWI */
    const int32_t *bias;   /* with -input_zero_point * sum(weights) */
    const int32_t *multiplier;
    const int8_t *shift;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t output_channels, zero_point, low, high;
    int32_t round_once; /* as LiteRT's FULLY_CONNECTED does, and no other op */
    int32_t input_columns, input_channels; /* input_columns 0: every output pixel reads its own input pixel */
    int32_t kernel_rows, kernel_columns, stride, dilation, pad_left, pad_value;
};

/* Adds products of a run of steps to the sums of four channels. */
INLINE void four_sums(const int8_t *pixel, const int8_t *weights, int32_t length, int32_t *sums)
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (const int8_t *const end = pixel + length; pixel != end; pixel++, weights += 4) {
        const int32_t x = *pixel;
        a += x * weights[0];
        b += x * weights[1];
        c += x * weights[2];
        d += x * weights[3];
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

INLINE int32_t one_sum(const int8_t *pixel, const int8_t *weights, int32_t length, int32_t sum)
{
    for (int32_t k = 0; k < length; k++) {
        sum += pixel[k] * weights[k];
    }
    return sum;
}

#if defined(__arm__) || defined(__thumb__)
/* Eight sums do not fit the registers. */
#define eight_sums_of(pixel, next, weights, length, sums) \
    do {                                                  \
        four_sums(pixel, weights, length, sums);          \
        four_sums(next, weights, length, (sums) + 4);     \
    } while (0)
#else
/* The same for two pixels. */
INLINE void eight_sums_of(const int8_t *pixel, const int8_t *next, const int8_t *weights, int32_t length, int32_t *sums)
{
    int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3], e = sums[4], f = sums[5], g = sums[6], h = sums[7];
    for (const int8_t *const end = pixel + length; pixel != end; pixel++, next++, weights += 4) {
        const int32_t x = *pixel, y = *next;
        const int32_t first = weights[0], second = weights[1], third = weights[2], fourth = weights[3];
        a += x * first;
        e += y * first;
        b += x * second;
        f += y * second;
        c += x * third;
        g += y * third;
        d += x * fourth;
        h += y * fourth;
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d, sums[4] = e, sums[5] = f, sums[6] = g, sums[7] = h;
}
#endif

INLINE int8_t portable_step(const struct portable_convolution *layer, int32_t channel, int32_t sum)
{
    const int32_t multiplier = layer->multiplier[channel], shift = layer->shift[channel];
    sum = layer->round_once ? requantize_once(sum, multiplier, shift) : requantize(sum, multiplier, shift);
    const int8_t step = clamp_int8(sum + layer->zero_point, layer->low, layer->high);
    return layer->table != NULL ? layer->table[step + 128] : step;
}

/* The input under tap j of a kernel row, or the pixel of padding. */
INLINE const int8_t *portable_tap(const struct portable_convolution *layer, const int8_t *row, int32_t column, int32_t j,
                                  const int8_t *pad)
{
    const int32_t x = column * layer->stride - layer->pad_left + j * layer->dilation;
    const int inside = row != NULL && (layer->input_columns == 0 || (x >= 0 && x < layer->input_columns));
    return inside ? row + x * layer->input_channels : pad;
}

/* One row of a dense convolution. rows[i] is the input row under kernel row i, NULL in the padding; scratch holds one
 * input pixel, and is NULL where there is no padding. */
KERNEL void portable_convolution(const struct portable_convolution *layer, const int8_t *const *rows, int8_t *output,
                                 int8_t *scratch, int32_t output_columns)
{
    const int32_t depth = layer->input_channels, columns = layer->kernel_columns, channels = layer->output_channels;
    for (int32_t channel = 0; scratch != NULL && channel < depth; channel++) {
        scratch[channel] = (int8_t)layer->pad_value;
    }
    for (int32_t column = 0; column < output_columns; column += 2) {
        /* The last pixel of an odd row is computed twice. */
        const int32_t next = column + 1 < output_columns ? column + 1 : column;
        const int32_t left = column * layer->stride - layer->pad_left;
        const int32_t right = next * layer->stride - layer->pad_left + (columns - 1) * layer->dilation;
        /* The taps of a kernel row lie side by side in the input, where none is outside. */
        const int whole = layer->dilation == 1 && (layer->input_columns == 0 || (left >= 0 && right < layer->input_columns));
        const int8_t *weights = layer->weights;
        int8_t *const second = output + (next - column) * channels;
        int32_t channel = 0;
        for (; channel + 4 <= channels; channel += 4) {
            const int32_t *const bias = layer->bias + channel;
            int32_t sums[8] = {bias[0], bias[1], bias[2], bias[3], bias[0], bias[1], bias[2], bias[3]};
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                if (whole && rows[i] != NULL) {
                    const int8_t *const pixel = rows[i] + left * depth;
                    eight_sums_of(pixel, pixel + (next - column) * layer->stride * depth, weights, columns * depth, sums);
                    weights += 4 * columns * depth;
                    continue;
                }
                for (int32_t j = 0; j < columns; j++, weights += 4 * depth) {
                    four_sums(portable_tap(layer, rows[i], column, j, scratch), weights, depth, sums);
                    four_sums(portable_tap(layer, rows[i], next, j, scratch), weights, depth, sums + 4);
                }
            }
            for (int32_t i = 0; i < 4; i++) {
                output[channel + i] = portable_step(layer, channel + i, sums[i]);
                second[channel + i] = portable_step(layer, channel + i, sums[4 + i]);
            }
        }
        for (; channel < channels; channel++) {
            int32_t sum = layer->bias[channel], other = sum;
            for (int32_t i = 0; i < layer->kernel_rows; i++) {
                for (int32_t j = 0; j < columns; j++, weights += depth) {
                    sum = one_sum(portable_tap(layer, rows[i], column, j, scratch), weights, depth, sum);
                    other = one_sum(portable_tap(layer, rows[i], next, j, scratch), weights, depth, other);
                }
            }
            output[channel] = portable_step(layer, channel, sum);
            second[channel] = portable_step(layer, channel, other);
        }
        output = second + channels;
    }
}
