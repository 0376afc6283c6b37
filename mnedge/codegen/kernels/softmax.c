/* round(a * b / 2^31): gemmlowp's SaturatingRoundingDoublingHighMul where it does not saturate. */
INLINE int32_t product_q31(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

INLINE int32_t times_four(int32_t x)
{
    return x > INT32_MAX / 4 ? INT32_MAX : x < INT32_MIN / 4 ? INT32_MIN : x * 4;
}

/* 1 / (1 + a) in Q0.31 for a in [0, 1): three steps of Newton and Raphson, as in gemmlowp. */
INLINE int32_t reciprocal_of_one_plus(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) >> 1);
    int32_t x = 1515870810 + product_q31(half, -1010580540);
    for (int step = 0; step < 3; step++) {
        x += times_four(product_q31(x, (1 << 29) - product_q31(half, x)));
    }
    return x > INT32_MAX / 2 ? INT32_MAX : x * 2;
}

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
