/* From sums to steps of 16 bits. */
struct int16_steps {
    const int64_t *bias;
    const int32_t *multiplier; /* its upper half, but for round_twice */
    const int8_t *shift;
    int32_t low, high;
    int32_t round_twice; /* as TFLite does with sums of 32 bits */
};

/* The step of a sum: TFLite scales sums of 64 bits by 16 bits of the multiplier, ties up. */
INLINE int16_t int16_step(const struct int16_steps *layer, int32_t channel, int64_t sum)
{
    const int32_t multiplier = layer->multiplier[channel], shift = layer->shift[channel];
    const int32_t step = layer->round_twice
                             ? requantize((int32_t)sum, multiplier, shift)
                             : (int32_t)((sum * multiplier + ((int64_t)1 << (14 - shift))) >> (15 - shift));
    return (int16_t)(step < layer->low ? layer->low : step > layer->high ? layer->high : step);
}
