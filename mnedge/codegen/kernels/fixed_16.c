/* round(a * b / 2^15): gemmlowp's SaturatingRoundingDoublingHighMul on 16 bits. */
INLINE int32_t product_q15(int32_t a, int32_t b)
{
    const int32_t rounded = (a * b + (1 << 14)) >> 15;
    return rounded > 32767 ? 32767 : rounded;
}

INLINE int32_t saturate_16(int32_t x)
{
    return x > 32767 ? 32767 : x < -32768 ? -32768 : x;
}

/* round(x / 2^right), ties away from zero. */
INLINE int32_t rounded_right(int32_t x, int32_t right)
{
    const int64_t half = ((int64_t)1 << right) >> 1;
    return (int32_t)((x + half - (x < 0 && right > 0)) >> right);
}

/* exp(x) in Q0.15 of x <= 0 with `bits` bits before the point: a series for the part within a quarter, and a factor for
 * each bit above, as in gemmlowp. */
INLINE int32_t exp_q15(int32_t x, int32_t bits)
{
    static const int16_t factors[] = {25520, 19875, 12055, 4435, 600, 11, 0}; /* exp(-2^e), e from -2 */
    const int32_t quarter = 1 << (13 - bits);
    const int32_t part = (x & (quarter - 1)) - quarter;
    const int32_t a = saturate_16(part * (1 << bits)) + (1 << 12);
    const int32_t a2 = product_q15(a, a), a3 = product_q15(a2, a), a4 = product_q15(a2, a2);
    const int32_t series = rounded_right(product_q15(rounded_right(a4, 2) + a3, 10923) + a2, 1);
    int32_t result = saturate_16(28918 + product_q15(28918, a + series));
    const int32_t rest = part - x;
    for (int32_t exponent = -2; exponent < bits && exponent < 5; exponent++) {
        if ((rest & 1 << (15 - bits + exponent)) != 0) {
            result = product_q15(result, factors[exponent + 2]);
        }
    }
    if (bits > 5 && x < -(1 << (20 - bits))) {
        result = 0;
    }
    return x == 0 ? 32767 : result;
}

/* 1 / ((1 + a) / 2) in Q2.13 for a in Q0.15 within [0, 1): three steps of Newton and Raphson. */
INLINE int32_t reciprocal_q13(int32_t a)
{
    const int32_t half = (a + 32767 + 1) / 2;
    int32_t x = 23130 + product_q15(half, -15420);
    for (int step = 0; step < 3; step++) {
        x += saturate_16(product_q15(x, (1 << 13) - product_q15(half, x)) * 4);
    }
    return x;
}

/* 1 / (1 + exp(-x)) in Q0.15 of x in Q3.12. */
INLINE int32_t logistic_q15(int32_t x)
{
    if (x == 0) {
        return 1 << 14;
    }
    const int32_t share = saturate_16(reciprocal_q13(exp_q15(x > 0 ? -x : x, 3)) * 2);
    return x > 0 ? share : 32767 - share;
}

/* tanh(x) in Q0.15 of x with `bits` bits before the point. */
INLINE int32_t tangent_q15(int32_t x, int32_t bits)
{
    if (x == 0) {
        return 0;
    }
    const int32_t value = saturate_16((reciprocal_q13(exp_q15(x > 0 ? -x : x, bits + 1)) - (1 << 13)) * 4);
    return x > 0 ? value : -value;
}
