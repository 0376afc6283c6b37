struct portable_divide {
    int32_t zero_point_1, zero_point_2, zero_point, low, high, multiplier, shift;
    const int8_t *table; /* replaces each output step, or NULL */
};

/* round(x / 2^right), ties away from zero. */
INLINE int32_t shifted_right(int32_t x, int32_t right)
{
    const int64_t half = ((int64_t)1 << right) >> 1;
    return (int32_t)((x + half - (x < 0 && right > 0)) >> right);
}

INLINE int32_t leading_zeros(uint32_t x)
{
    int32_t count = 0;
    while (count < 32 && (x & 0x80000000u >> count) == 0) {
        count++;
    }
    return count;
}

/* a / b by the reciprocal of b, where b starts again with every run. What TFLite leaves undefined: what 0 divides is cut to
 * the limits, and quotients too small for its shift are 0. May work in place of a. */
KERNEL void portable_divide(const struct portable_divide *layer, const int8_t *a, const int8_t *b, int8_t *output,
                            int32_t runs, int32_t length)
{
    for (; runs > 0; runs--, a += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            int32_t dividend = a[i] - layer->zero_point_1, divisor = b[i] - layer->zero_point_2, result = 0;
            if (divisor < 0) {
                dividend = -dividend;
                divisor = -divisor;
            }
            if (divisor == 0) {
                result = dividend > 0 ? 512 : dividend < 0 ? -512 : 0;
            } else {
                const int32_t zeros = leading_zeros((uint32_t)divisor);
                const uint32_t fraction = ((uint32_t)divisor << zeros) - 0x80000000u;
                const int32_t inverse = reciprocal_of_one_plus((int32_t)fraction);
                const int32_t headroom = leading_zeros((uint32_t)(dividend < 0 ? -dividend - 1 : dividend)) - 1;
                const int32_t quotient = product_q31((int32_t)((int64_t)dividend * ((int64_t)1 << headroom)), inverse);
                const int32_t scaled = product_q31(quotient, layer->multiplier);
                const int32_t shift = 31 - zeros + headroom - layer->shift;
                result = shift > 31 ? 0 : shifted_right(scaled, shift < 0 ? 0 : shift);
            }
            const int8_t step = clamp_int8(result + layer->zero_point, layer->low, layer->high);
            output[i] = layer->table != NULL ? layer->table[step + 128] : step;
        }
    }
}
