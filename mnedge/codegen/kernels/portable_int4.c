struct portable_int4 {
    const uint8_t *weights; /* plus 8: for each four output channels, filled up with zeros, and each input channel two bytes of two */
    const int32_t *bias;    /* with -input_zero_point * sum(weights) */
    const int32_t *multiplier;
    const int8_t *shift;
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t input_channels, output_channels, zero_point, low, high;
};

/* Rows of steps by a matrix of weights of 4 bits, with one rounding, as LiteRT's FULLY_CONNECTED has it. */
KERNEL void portable_int4(const struct portable_int4 *layer, const int8_t *input, int8_t *output, int32_t pixels)
{
    const int32_t depth = layer->input_channels, channels = layer->output_channels;
    for (; pixels > 0; pixels--, input += depth, output += channels) {
        const uint8_t *weights = layer->weights;
        /* 8 too much in each weight is 8 times the input too much in each sum; what passes 32 bits on the way comes back. */
        uint32_t surplus = 0;
        for (int32_t k = 0; k < depth; k++) {
            surplus += (uint32_t)(8 * input[k]);
        }
        for (int32_t channel = 0; channel < channels; channel += 4) {
            uint32_t a = 0u - surplus, b = a, c = a, d = a;
            for (const int8_t *step = input; step != input + depth; step++, weights += 2) {
                const int32_t x = *step, first = weights[0], second = weights[1];
                a += (uint32_t)(x * (first & 15));
                b += (uint32_t)(x * (first >> 4));
                c += (uint32_t)(x * (second & 15));
                d += (uint32_t)(x * (second >> 4));
            }
            const uint32_t sums[4] = {a, b, c, d};
            for (int32_t i = channel; i < channel + 4 && i < channels; i++) {
                const int32_t sum = (int32_t)(sums[i - channel] + (uint32_t)layer->bias[i]);
                const int32_t scaled = requantize_once(sum, layer->multiplier[i], layer->shift[i]);
                const int8_t made = clamp_int8(scaled + layer->zero_point, layer->low, layer->high);
                output[i] = layer->table != NULL ? layer->table[made + 128] : made;
            }
        }
    }
}
