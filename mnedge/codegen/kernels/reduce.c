struct reduce {
    int32_t extents[4], strides[4];                 /* of the output's loops */
    int32_t reduced_extents[3], reduced_strides[3]; /* of what becomes one step */
    int32_t offset, multiplier, shift, zero_point;  /* of sums: what is added to them, and how they become steps */
};

enum { REDUCE_SUM, REDUCE_MAXIMUM, REDUCE_MINIMUM };

/* Sums, maxima or minima of any dimensions, of steps of one type. */
#define REDUCE(name, step_t, low, high)                                                                             \
INLINE int32_t name##_one(const struct reduce *layer, const step_t *input, int how)                                 \
{                                                                                                                   \
    int32_t result = how == REDUCE_SUM ? layer->offset : *input;                                                    \
    for (int32_t a = 0; a < layer->reduced_extents[0]; a++) {                                                       \
        for (int32_t b = 0; b < layer->reduced_extents[1]; b++) {                                                   \
            const step_t *from = input + a * layer->reduced_strides[0] + b * layer->reduced_strides[1];             \
            for (int32_t c = 0; c < layer->reduced_extents[2]; c++, from += layer->reduced_strides[2]) {            \
                if (how == REDUCE_SUM) {                                                                            \
                    result += *from;                                                                                \
                } else if (how == REDUCE_MAXIMUM) {                                                                 \
                    result = *from > result ? *from : result;                                                       \
                } else {                                                                                            \
                    result = *from < result ? *from : result;                                                       \
                }                                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
    return result;                                                                                                  \
}                                                                                                                   \
KERNEL void name(const struct reduce *layer, const void *steps, void *results, int how)                             \
{                                                                                                                   \
    const int32_t *const extents = layer->extents, *const strides = layer->strides;                                 \
    const step_t *const input = (const step_t *)steps;                                                              \
    step_t *output = (step_t *)results;                                                                             \
    for (int32_t a = 0; a < extents[0]; a++) {                                                                      \
        for (int32_t b = 0; b < extents[1]; b++) {                                                                  \
            for (int32_t c = 0; c < extents[2]; c++) {                                                              \
                for (int32_t d = 0; d < extents[3]; d++) {                                                          \
                    const int32_t place = a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];        \
                    int32_t step = name##_one(layer, input + place, how);                                           \
                    if (how == REDUCE_SUM) {                                                                        \
                        step = requantize(step, layer->multiplier, layer->shift) + layer->zero_point;               \
                    }                                                                                               \
                    *output++ = (step_t)(step < low ? low : step > high ? high : step);                             \
                }                                                                                                   \
            }                                                                                                       \
        }                                                                                                           \
    }                                                                                                               \
}
REDUCE(reduce_8, int8_t, -128, 127)
REDUCE(reduce_16, int16_t, -32768, 32767)
