/* Copies the runs of `length` bytes at some places, `outer` times; each time `extent` runs further on. */
KERNEL void gather_runs(const int8_t *input, int8_t *output, const int32_t *places, int32_t count, int32_t outer,
                        int32_t extent, int32_t length)
{
    for (; outer > 0; outer--, input += extent * length) {
        for (int32_t k = 0; k < count; k++) {
            const int8_t *const from = input + places[k] * length;
            for (int32_t i = 0; i < length; i++) {
                *output++ = from[i];
            }
        }
    }
}
