struct int16_fully_connected {
    const int8_t *weights; /* for each four output channels their weights side by side; then those of the rest */
    const int64_t *bias;
    const double *real; /* what a sum is multiplied by: LiteRT's FULLY_CONNECTED is in float64 */
    int32_t low, high;
    int32_t output_channels, is_narrow; /* whether no sum passes 32 bits */
    int32_t depth;
};

/* Rows of steps of 16 bits by a matrix. */
KERNEL void int16_fully_connected(const struct int16_fully_connected *layer, const void *input, void *steps, int32_t rows)
{
    const int32_t channels = layer->output_channels, depth = layer->depth;
    const int16_t *row = (const int16_t *)input;
    int16_t *output = (int16_t *)steps;
    for (; rows > 0; rows--, row += depth) {
        const int8_t *weights = layer->weights;
        int64_t sums[4] = {0, 0, 0, 0};
        for (int32_t channel = 0; channel < channels; channel++) {
            const int32_t place = channel < (channels & ~3) ? channel & 3 : 0;
            if (channel < (channels & ~3) && place == 0) {
                sums[0] = sums[1] = sums[2] = sums[3] = 0;
                int16_four_sums(row, weights, depth, layer->is_narrow, sums);
                weights += 4 * depth;
            } else if (channel >= (channels & ~3)) {
                sums[0] = int16_one_sum(row, weights, depth, 0);
                weights += depth;
            }
            /* Ties go away from zero. */
            const double scaled = (double)(sums[place] + layer->bias[channel]) * layer->real[channel];
            int32_t step = (int32_t)scaled;
            const double rest = scaled - (double)step;
            step += (rest >= 0.5) - (rest <= -0.5);
            *output++ = (int16_t)(step < layer->low ? layer->low : step > layer->high ? layer->high : step);
        }
    }
}
