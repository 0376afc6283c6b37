/* The sum of each channel over all pixels, four channels at a time in pairs of 16 bits. */
KERNEL void dsp_channel_sums(const int8_t *input, int32_t *sums, int32_t pixels, int32_t channels)
{
    for (int32_t channel = 0; channel < channels; channel++) {
        sums[channel] = 0;
    }
    int32_t channel = 0;
#if DSP
    for (; channel + 4 <= channels; channel += 4) {
        for (int32_t done = 0; done < pixels; done += 255) {
            int32_t count = pixels - done < 255 ? pixels - done : 255;
            const int8_t *pixel = input + done * channels + channel;
            uint32_t even = 0, odd = 0, x;
            /* 255 steps of -128 fit 16 bits. */
            for (; count > 0; count--, pixel += channels) {
                __asm__ volatile("ldr %[x], [%[pixel]]\n\t"
                                 "sxtab16 %[even], %[even], %[x]\n\t"
                                 "sxtab16 %[odd], %[odd], %[x], ror #8"
                                 : [even] "+&r"(even), [odd] "+&r"(odd), [x] "=&r"(x)
                                 : [pixel] "r"(pixel)
                                 : "memory");
            }
            sums[channel] += (int16_t)(even & 0xFFFFu);
            sums[channel + 1] += (int16_t)(odd & 0xFFFFu);
            sums[channel + 2] += (int16_t)(even >> 16);
            sums[channel + 3] += (int16_t)(odd >> 16);
        }
    }
#endif
    for (; channel < channels; channel++) {
        for (int32_t pixel = 0; pixel < pixels; pixel++) {
            sums[channel] += input[pixel * channels + channel];
        }
    }
}
