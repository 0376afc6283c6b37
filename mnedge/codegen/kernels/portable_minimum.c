/* The minimum of a and b, where b starts again with every run. May work in place of a. */
KERNEL void portable_minimum(const int8_t *a, const int8_t *b, int8_t *output, int32_t runs, int32_t length)
{
    for (; runs > 0; runs--, a += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            output[i] = a[i] < b[i] ? a[i] : b[i];
        }
    }
}
