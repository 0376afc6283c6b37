/* Replaces each byte by its entry; table is in the order of bit patterns. May work in place. */
KERNEL void look_up(const uint8_t *table, const int8_t *input, int8_t *output, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        output[i] = (int8_t)table[(uint8_t)input[i]];
    }
}
