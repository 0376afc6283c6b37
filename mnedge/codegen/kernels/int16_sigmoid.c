/* 1 / (1 + exp(-x)), or tanh(x), in Q0.15: between values of the logistic function at i / 24, of which tanh needs those at
 * 2x. May work in place. */
KERNEL void int16_sigmoid(const uint16_t *table, const void *steps, void *results, int32_t count, int32_t multiplier,
                          int32_t shift, int is_tangent)
{
    const int16_t *const input = (const int16_t *)steps;
    int16_t *const output = (int16_t *)results;
    const int32_t half = shift > 0 ? 1 << (shift - 1) : 0, bits = is_tangent ? 8 : 9;
    for (int32_t i = 0; i < count; i++) {
        const int32_t x = (input[i] * multiplier + half) >> shift;
        const uint32_t distance = x < 0 ? 0u - (uint32_t)x : (uint32_t)x, place = distance >> bits;
        uint32_t value = is_tangent ? 0xFFFFu << 8 : 0x7FFFu << 10;
        if (place < 255) {
            const uint32_t rest = distance & ((1u << bits) - 1u);
            value = ((uint32_t)table[place] << bits) + rest * (uint32_t)(table[place + 1] - table[place]);
        }
        if (is_tangent) {
            const int32_t centred = (int32_t)value - (1 << 23);
            output[i] = (int16_t)((x >= 0 ? centred + (1 << 7) : -centred + (1 << 7) - 1) >> 8);
        } else {
            output[i] = (int16_t)((x >= 0 ? value + (1u << 9) : (1u << 25) - value + (1u << 9) - 1u) >> 10);
        }
    }
}
