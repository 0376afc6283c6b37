/* The minimum of a and b of 16 bits, where b starts again with every run. May work in place of a. */
KERNEL void int16_minimum(const void *first, const void *second, void *result, int32_t runs, int32_t length)
{
    const int16_t *a = (const int16_t *)first, *const b = (const int16_t *)second;
    int16_t *output = (int16_t *)result;
    for (; runs > 0; runs--, a += length, output += length) {
        for (int32_t i = 0; i < length; i++) {
            output[i] = a[i] < b[i] ? a[i] : b[i];
        }
    }
}
