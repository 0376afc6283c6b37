/* Sums of eight neighbouring channels over up to 255 pixels that lie `channels` apart. */
#if MVE
__attribute__((naked, noinline)) static void
eight_sums(__attribute__((unused)) const int8_t *input, __attribute__((unused)) int32_t channels,
           __attribute__((unused)) int32_t pixels, __attribute__((unused)) int16_t *sums)
{
    __asm__("push {r7, lr}\n\t"
            "vmov.i32 q0, #0\n\t"
            "dls lr, r2\n"
            "1:\n\t"
            "vldrb.s16 q1, [r0]\n\t"
            "add r0, r1\n\t"
            "vadd.i16 q0, q0, q1\n\t"
            "le lr, 1b\n\t"
            "vstrh.16 q0, [r3]\n\t"
            "pop {r7, pc}");
}
#else
static void eight_sums(const int8_t *input, int32_t channels, int32_t pixels, int16_t *sums)
{
    for (int32_t i = 0; i < 8; i++) {
        int32_t sum = 0;
        for (int32_t pixel = 0; pixel < pixels; pixel++) {
            sum += input[pixel * channels + i];
        }
        sums[i] = (int16_t)sum;
    }
}
#endif

/* The sum of each channel over all pixels. */
KERNEL void mve_channel_sums(const int8_t *input, int32_t *sums, int32_t pixels, int32_t channels)
{
    for (int32_t channel = 0; channel < channels; channel++) {
        sums[channel] = 0;
    }
    for (int32_t done = 0; done < pixels; done += 255) {
        const int32_t count = pixels - done < 255 ? pixels - done : 255;
        const int8_t *const first = input + done * channels;
        int32_t channel = 0;
        for (; channel + 8 <= channels; channel += 8) {
            int16_t part[8];
            eight_sums(first + channel, channels, count, part);
            for (int32_t i = 0; i < 8; i++) {
                sums[channel + i] += part[i];
            }
        }
        for (; channel < channels; channel++) {
            for (int32_t pixel = 0; pixel < count; pixel++) {
                sums[channel] += first[pixel * channels + channel];
            }
        }
    }
}
