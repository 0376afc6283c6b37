KERNEL void fill(int8_t *output, int32_t count, int8_t step)
{
    for (int32_t i = 0; i < count; i++) {
        output[i] = step;
    }
}
