/* A table of 513 values over all steps of 16 bits, interpolated. */
INLINE int32_t int16_look_up(const int16_t *table, int32_t x)
{
    const int32_t value = x < -32768 ? -32768 : x > 32767 ? 32767 : x;
    const int16_t *const at = table + 256 + (value >> 7);
    /* As in the runtime, the slope keeps 16 bits. */
    const int32_t slope = (int16_t)(at[1] - at[0]);
    return (int16_t)(at[0] + ((slope * (value & 0x7F) + 64) >> 7));
}

/* Softmax of each row in Q0.15, as TFLite has it in int16: exponentials of -10 … 0, and 1 / (1 + x) of the rest of their sum.
 * May work in place. */
KERNEL void int16_softmax(const int16_t *exponentials, const int16_t *reciprocals, const void *steps, void *shares,
                          int32_t rows, int32_t length, int32_t multiplier, int32_t shift)
{
    const int16_t *input = (const int16_t *)steps;
    int16_t *output = (int16_t *)shares;
    for (; rows > 0; rows--, input += length, output += length) {
        int32_t largest = -32768;
        for (int32_t i = 0; i < length; i++) {
            largest = input[i] > largest ? input[i] : largest;
        }
        int32_t sum = 0; /* Q16.15 */
        for (int32_t i = 0; i < length; i++) {
            output[i] = (int16_t)int16_look_up(exponentials, requantize(input[i] - largest, multiplier, shift) + 32767);
            sum += output[i];
        }
        int32_t zeros = 0; /* in front of the sum, which is above 0 */
        while (((uint32_t)sum << zeros & 0x80000000u) == 0) {
            zeros++;
        }
        const int32_t rest = (int32_t)((((int64_t)sum << (zeros - 1)) + (1 << 13)) >> 14);
        const int32_t scale = int16_look_up(reciprocals, rest - (1 << 15) - (1 << 16));
        const int32_t right = 31 - zeros;
        for (int32_t i = 0; i < length; i++) {
            const int32_t share = (int32_t)(((int64_t)output[i] * scale + ((int64_t)1 << (right - 1))) >> right);
            output[i] = (int16_t)(share < 0 ? 0 : share > 32767 ? 32767 : share);
        }
    }
}
