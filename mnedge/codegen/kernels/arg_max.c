/* The place of the first largest of each run of `length` steps, as int32 or, with `wide`, as int64. */
KERNEL void arg_max(const int8_t *input, int8_t *output, int32_t runs, int32_t length, int wide)
{
    for (int32_t run = 0; run < runs; run++, input += length) {
        int32_t best = 0;
        for (int32_t i = 1; i < length; i++) {
            best = input[i] > input[best] ? i : best;
        }
        if (wide) {
            ((int64_t *)(void *)output)[run] = best;
        } else {
            ((int32_t *)(void *)output)[run] = best;
        }
    }
}
