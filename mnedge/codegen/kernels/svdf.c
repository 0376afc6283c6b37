struct svdf {
    const int8_t *feature_weights; /* (units * rank, inputs) */
    const int16_t *time_weights;   /* (units * rank, memory) */
    const int32_t *feature_bias;   /* -zero_point * sum(weights) of each filter */
    const int32_t *bias;           /* of each unit */
    int32_t inputs, memory, units, rank;
    int32_t feature_multiplier, feature_shift, multiplier, shift, zero_point;
};

/* A fully connected layer over time, of low rank: each filter keeps what it saw in the last `memory` calls. */
KERNEL void svdf(const struct svdf *layer, const int8_t *input, int8_t *kept, int8_t *output)
{
    int16_t *seen = (int16_t *)(void *)kept;
    const int8_t *features = layer->feature_weights;
    const int16_t *times = layer->time_weights;
    const int32_t *feature_bias = layer->feature_bias;
    for (int32_t unit = 0; unit < layer->units; unit++) {
        int32_t total = layer->bias[unit];
        for (int32_t rank = 0; rank < layer->rank; rank++, seen += layer->memory, times += layer->memory) {
            int32_t sum = *feature_bias++;
            for (int32_t i = 0; i < layer->inputs; i++) {
                sum += input[i] * *features++;
            }
            seen[layer->memory - 1] = (int16_t)saturate_16(requantize(sum, layer->feature_multiplier, layer->feature_shift));
            for (int32_t i = 0; i < layer->memory; i++) {
                total += seen[i] * times[i];
            }
            for (int32_t i = 1; i < layer->memory; i++) {
                seen[i - 1] = seen[i];
            }
            seen[layer->memory - 1] = 0;
        }
        output[unit] = clamp_int8(requantize(total, layer->multiplier, layer->shift) + layer->zero_point, -128, 127);
    }
}
