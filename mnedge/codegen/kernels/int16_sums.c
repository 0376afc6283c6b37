/* Adds products of a run of steps to the sums of four channels, whose weights lie side by side; in 32 bits where that is
 * enough. */
INLINE void int16_four_sums(const int16_t *pixel, const int8_t *weights, int32_t length, int32_t is_narrow, int64_t *sums)
{
    const int16_t *const end = pixel + length;
    if (is_narrow) {
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (; pixel != end; pixel++, weights += 4) {
            const int32_t x = *pixel;
            a += x * weights[0];
            b += x * weights[1];
            c += x * weights[2];
            d += x * weights[3];
        }
        sums[0] += a, sums[1] += b, sums[2] += c, sums[3] += d;
        return;
    }
    for (; pixel != end; pixel++, weights += 4) {
        const int64_t x = *pixel;
        for (int32_t i = 0; i < 4; i++) {
            sums[i] += x * weights[i];
        }
    }
}

INLINE int64_t int16_one_sum(const int16_t *pixel, const int8_t *weights, int32_t length, int64_t sum)
{
    for (int32_t k = 0; k < length; k++) {
        sum += (int64_t)pixel[k] * weights[k];
    }
    return sum;
}
