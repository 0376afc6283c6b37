/* Replaces each byte by its entry; table is in the order of bit patterns. May work in place. */
#if MVE
__attribute__((naked, noinline)) static void
mve_look_up(__attribute__((unused)) const uint8_t *table, __attribute__((unused)) const int8_t *input,
        __attribute__((unused)) int8_t *output, __attribute__((unused)) int32_t count)
{
    __asm__("push {r7, lr}\n\t"
            "wlstp.8 lr, r3, 2f\n"
            "1:\n\t"
            "vldrb.u8 q0, [r1], #16\n\t"
            "vldrb.u8 q1, [r0, q0]\n\t"
            "vstrb.8 q1, [r2], #16\n\t"
            "letp lr, 1b\n"
            "2:\n\t"
            "pop {r7, pc}");
}
#else
KERNEL void mve_look_up(const uint8_t *table, const int8_t *input, int8_t *output, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        output[i] = (int8_t)table[(uint8_t)input[i]];
    }
}
#endif
