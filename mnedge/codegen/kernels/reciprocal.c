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
