struct log_softmax {
    const int32_t *exponentials; /* exp in Q0.31 of d steps below the row's maximum; 0 where there is none */
    int32_t multiplier, shift;   /* from steps to Q5.26 */
    int32_t back_multiplier, back_shift, least; /* from Q5.26 to steps, and the steps below which there is nothing */
};

INLINE int32_t leading_zeros_of(uint32_t x)
{
    int32_t count = 0;
    while (count < 32 && (x & 0x80000000u >> count) == 0) {
        count++;
    }
    return count;
}

INLINE int32_t saturated(int64_t x)
{
    return (int32_t)(x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x);
}

/* round(x / 2^right), ties away from zero. */
INLINE int32_t halved(int32_t x, int32_t right)
{
    const int64_t half = ((int64_t)1 << right) >> 1;
    return (int32_t)((x + half - (x < 0 && right > 0)) >> right);
}

/* The logarithm in Q5.26 of x in Q12.19, at least 1: x is r * 2^n with r around the fourth root of 1/2, twice over, and
 * log r a quotient of polynomials of r less that root. */
INLINE int32_t logarithm(int32_t x)
{
    const int32_t half_root = 1518500250, quarter_root = 1805811301, quarter = 1 << 23;
    const int32_t zeros = leading_zeros_of((uint32_t)x);
    const int32_t smaller = product_q31(x, half_root);
    const int32_t room = leading_zeros_of((uint32_t)smaller) - 1;
    const int32_t first = saturated((int64_t)product_q31((int32_t)((int64_t)x << (zeros - 1)), half_root) * 2);
    const int32_t second = saturated((int64_t)x * ((int64_t)1 << room));
    const int32_t first_power = (12 - zeros) * (1 << 25) + quarter, second_power = (12 - room) * (1 << 25) - quarter;
    const int32_t r = first < second ? first : second;
    const int32_t power = first_power > second_power ? first_power : second_power;
    const int64_t twice = (int64_t)r + quarter_root;
    const int32_t p = (int32_t)((twice + (twice >= 0 ? 1 : -1)) / 2);
    const int32_t q = (r - quarter_root) * 2;
    const int32_t square = product_q31(q, q);
    const int32_t above = product_q31(q, r) + product_q31(product_q31(q, square), 117049297);
    const int32_t below = product_q31(p, 1057819769 + q + product_q31(127690142, square)) + product_q31(638450708, q);
    const int32_t result = product_q31(power, 1488522236) + product_q31(halved(above, 6), reciprocal_of_one_plus(below));
    return saturated((int64_t)result * 2);
}

/* The logarithm of the softmax of each row, output scale 1/16 and zero point 127. May work in place. */
KERNEL void log_softmax(const struct log_softmax *layer, const int8_t *input, int8_t *output, int32_t rows, int32_t length)
{
    for (; rows > 0; rows--, input += length, output += length) {
        int32_t largest = -128;
        for (int32_t i = 0; i < length; i++) {
            largest = input[i] > largest ? input[i] : largest;
        }
        int32_t sum = 0; /* Q12.19 */
        for (int32_t i = 0; i < length; i++) {
            sum += (int32_t)(((uint32_t)layer->exponentials[largest - input[i]] + (1u << 11)) >> 12);
        }
        const int32_t log_sum = logarithm(sum);
        const int32_t reach = requantize(log_sum + INT32_MIN, layer->back_multiplier, layer->back_shift);
        const int32_t least = reach > layer->least - 1 ? reach : layer->least - 1;
        for (int32_t i = 0; i < length; i++) {
            const int32_t difference = input[i] - largest;
            int32_t step = -128;
            if (difference > least) {
                step = halved(requantize(difference, layer->multiplier, layer->shift) - log_sum, 22) + 127;
            }
            output[i] = clamp_int8(step, -128, 127);
        }
    }
}
