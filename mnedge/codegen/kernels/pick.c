/* Copies bytes in the order of the output, four dimensions deep, from where the strides of each dimension lead. */
KERNEL void pick(const int8_t *input, int8_t *output, const int32_t *extents, const int32_t *strides)
{
    for (int32_t a = 0; a < extents[0]; a++) {
        for (int32_t b = 0; b < extents[1]; b++) {
            for (int32_t c = 0; c < extents[2]; c++) {
                const int8_t *from = input + a * strides[0] + b * strides[1] + c * strides[2];
                for (int32_t d = 0; d < extents[3]; d++) {
                    *output++ = from[d * strides[3]];
                }
            }
        }
    }
}
