/* The larger of each byte of two runs, in the first one. */
INLINE void maximum_of(int8_t *best, const int8_t *input, int32_t count)
{
    int32_t i = 0;
#if defined(__ARM_FEATURE_MVE) && defined(__GNUC__)
    for (; i + 16 <= count; i += 16) {
        __asm__ volatile("vldrb.u8 q0, [%0]\n\t"
                         "vldrb.u8 q1, [%1]\n\t"
                         "vmax.s8 q0, q0, q1\n\t"
                         "vstrb.8 q0, [%0]"
                         :
                         : "r"(best + i), "r"(input + i)
                         : "memory", "q0", "q1");
    }
#elif defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
    for (; i + 4 <= count; i += 4) {
        uint32_t one, other, most;
        __asm__ volatile("ldr %[one], [%[best]]\n\t"
                         "ldr %[other], [%[input]]\n\t"
                         "ssub8 %[most], %[one], %[other]\n\t"
                         "sel %[most], %[one], %[other]\n\t"
                         "str %[most], [%[best]]"
                         : [one] "=&r"(one), [other] "=&r"(other), [most] "=&r"(most)
                         : [best] "r"(best + i), [input] "r"(input + i)
                         : "memory", "cc");
    }
#endif
    for (; i < count; i++) {
        best[i] = input[i] > best[i] ? input[i] : best[i];
    }
}

/* One row of maxima. rows[i] is NULL in the padding, all of whose steps are pad_step. */
KERNEL void maximum_pool(const struct pool *layer, const int8_t *const *rows, int8_t *output)
{
    const int32_t channels = layer->channels;
    for (int32_t column = 0; column < layer->output_columns; column++, output += channels) {
        int32_t least = layer->low;
        for (int32_t i = 0; i < layer->kernel_rows && layer->pad_step > least; i++) {
            const int32_t left = column * layer->stride - layer->pad_left, right = left + layer->kernel_columns;
            least = rows[i] == NULL || left < 0 || right > layer->input_columns ? layer->pad_step : least;
        }
        for (int32_t channel = 0; channel < channels; channel++) {
            output[channel] = (int8_t)least;
        }
        for (int32_t i = 0; i < layer->kernel_rows; i++) {
            for (int32_t j = 0; j < layer->kernel_columns; j++) {
                const int32_t x = column * layer->stride - layer->pad_left + j;
                if (rows[i] != NULL && x >= 0 && x < layer->input_columns) {
                    maximum_of(output, rows[i] + x * channels, channels);
                }
            }
        }
        for (int32_t channel = 0; channel < channels && layer->high < 127; channel++) {
            output[channel] = output[channel] > layer->high ? (int8_t)layer->high : output[channel];
        }
    }
}
