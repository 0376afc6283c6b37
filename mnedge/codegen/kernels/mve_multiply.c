struct mve_multiply {
    int32_t zero_point_1, zero_point_2, zero_point, low, high, multiplier, shift; /* shift is -31 … -1 */
    const int8_t *table;                                                         /* replaces each output step, or NULL */
};

/* `count` products; the assembly reads the layer by offset. */
#if MVE
__attribute__((naked, noinline)) static void
multiply_run(__attribute__((unused)) const struct mve_multiply *layer, __attribute__((unused)) const int8_t *a,
             __attribute__((unused)) const int8_t *b, __attribute__((unused)) int8_t *output,
             __attribute__((unused)) int32_t count)
{
    __asm__("ldr r12, [sp]\n\t"
            "push {r3-r11, lr}\n\t"
            "ldrd r4, r5, [r0]\n\t"
            "rsb r4, r4, #0\n\t"
            "rsb r5, r5, #0\n\t"
            "ldr r6, [r0, #8]\n\t"
            "ldrd r7, r8, [r0, #20]\n\t"
            "wlstp.32 lr, r12, 2f\n"
            "1:\n\t"
            "vldrb.s32 q0, [r1], #4\n\t"
            "vldrb.s32 q1, [r2], #4\n\t"
            "vadd.i32 q0, q0, r4\n\t"
            "vadd.i32 q1, q1, r5\n\t"
            "vmul.i32 q0, q0, q1\n\t"
            "vqrdmulh.s32 q0, q0, r7\n\t"
            /* One less for negatives: their ties go away from zero. */
            "vshr.s32 q1, q0, #31\n\t"
            "vadd.i32 q0, q0, q1\n\t"
            "vrshl.s32 q0, r8\n\t"
            "vadd.i32 q0, q0, r6\n\t"
            "vqmovnb.s32 q0, q0\n\t"
            "vqmovnb.s16 q0, q0\n\t"
            "vstrb.32 q0, [r3], #4\n\t"
            "letp lr, 1b\n"
            "2:\n\t"
            "pop {r3-r11, pc}");
}
#else
static void multiply_run(const struct mve_multiply *layer, const int8_t *a, const int8_t *b, int8_t *output, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const int32_t product = (a[i] - layer->zero_point_1) * (b[i] - layer->zero_point_2);
        output[i] = (int8_t)requantize_lane(product, layer->multiplier, layer->shift, layer->zero_point);
    }
}
#endif

/* a * b, where b starts again with every run. May work in place of a. */
KERNEL void mve_multiply(const struct mve_multiply *layer, const int8_t *a, const int8_t *b, int8_t *output, int32_t runs,
                         int32_t length)
{
    for (; runs > 0; runs--, a += length, output += length) {
        multiply_run(layer, a, b, output, length);
    }
}
