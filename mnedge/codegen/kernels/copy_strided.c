/* Copies `count` runs of `length` bytes that start `input_stride` and `output_stride` bytes apart. */
KERNEL void copy_strided(const int8_t *input, int8_t *output, int32_t count, int32_t length, int32_t input_stride,
                         int32_t output_stride)
{
    for (; count > 0; count--, input += input_stride, output += output_stride) {
        for (int32_t i = 0; i < length; i++) {
            output[i] = input[i];
        }
    }
}
