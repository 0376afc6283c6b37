/* Softmax of each row, output scale 1/256 and zero point -128. exponentials[d] is exp in Q0.31 of d steps below
 * the row's maximum. May work in place. */
KERNEL void softmax(const int32_t *exponentials, const int8_t *input, int8_t *output, int32_t rows, int32_t length)
{
    for (; rows > 0; rows--, input += length, output += length) {
        int32_t largest = -128;
        for (int32_t i = 0; i < length; i++) {
            largest = input[i] > largest ? input[i] : largest;
        }
        int32_t sum = 0; /* Q12.19 */
        for (int32_t i = 0; i < length; i++) {
            sum += (int32_t)(((uint32_t)exponentials[largest - input[i]] + (1u << 11)) >> 12);
        }
        int32_t headroom = 0;
        while (((uint32_t)sum << headroom & 0x80000000u) == 0) {
            headroom++;
        }
        const int32_t scale = reciprocal_of_one_plus((int32_t)(((uint32_t)sum << headroom) - 0x80000000u));
        const int32_t shift = 12 - headroom + 23;
        for (int32_t i = 0; i < length; i++) {
            const int32_t share = product_q31(scale, exponentials[largest - input[i]]);
            /* Above 31 every share rounds to 0. */
            const int32_t steps = shift > 31 ? 0 : (int32_t)((share + (((int64_t)1 << shift) >> 1)) >> shift);
            output[i] = (int8_t)(steps > 255 ? 127 : steps - 128);
        }
    }
}
