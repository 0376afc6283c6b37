INLINE int32_t round_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

INLINE int32_t shift_saturated(int32_t x, int32_t bits)
{
    const int64_t wide = (int64_t)x * ((int64_t)1 << bits);
    return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* 1 / sqrt(x) as multiplier and shift: five steps of Newton and Raphson in Q3.28, as in TFLite. */
static int32_t inverse_root(int32_t x, int32_t *shift)
{
    *shift = 0;
    if (x <= 1) {
        return INT32_MAX;
    }
    int32_t right = 11;
    for (; x >= 1 << 29; x /= 4) {
        right++;
    }
    for (; x < 1 << 27; x *= 4) {
        right--;
    }
    const int32_t half = (x >> 1) / 2 + ((x >> 1) & 1);
    int32_t root = 1 << 28;
    for (int step = 0; step < 5; step++) {
        const int32_t cube = shift_saturated(round_high(round_high(root, root), root), 6);
        root = shift_saturated(round_high((1 << 28) + (1 << 27), root) - round_high(half, cube), 3);
    }
    root = round_high(root, 1518500250); /* sqrt(2) / 2 */
    *shift = right < 0 ? 0 : -right;
    return right < 0 ? root * (1 << -right) : root;
}

/* Each row divided by its length, at scale 1/128. May work in place. */
KERNEL void l2_normalize(int32_t zero_point, const int8_t *input, int8_t *output, int32_t rows, int32_t length)
{
    for (; rows > 0; rows--, input += length, output += length) {
        int32_t sum = 0;
        for (int32_t i = 0; i < length; i++) {
            sum += (input[i] - zero_point) * (input[i] - zero_point);
        }
        int32_t shift;
        const int32_t multiplier = inverse_root(sum, &shift);
        for (int32_t i = 0; i < length; i++) {
            output[i] = clamp_int8(requantize(input[i] - zero_point, multiplier, shift + 7), -128, 127);
        }
    }
}
