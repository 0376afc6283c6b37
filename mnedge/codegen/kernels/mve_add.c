struct mve_add {
    int32_t zero_point_1, zero_point_2, zero_point, low, high;                    /* 0, 4, 8 */
    int32_t multiplier_1, shift_1, multiplier_2, shift_2, multiplier, shift; /* 20 …; shifts are -31 … 0 */
    const int8_t *table;                                                     /* replaces each output step, or NULL */
};

/* `count` sums; the assembly reads the layer by offset. */
#if MVE
__attribute__((naked, noinline)) static void
add_run(__attribute__((unused)) const struct mve_add *layer, __attribute__((unused)) const int8_t *a,
        __attribute__((unused)) const int8_t *b, __attribute__((unused)) int8_t *output,
        __attribute__((unused)) int32_t count)
{
    __asm__("ldr r12, [sp]\n\t"
            "push {r3-r11, lr}\n\t"
            "vpush {d8-d13}\n\t"
            "ldrd r4, r5, [r0]\n\t"
            "rsb r4, r4, #0\n\t"
            "rsb r5, r5, #0\n\t"
            "ldr r6, [r0, #8]\n\t"
            "ldrd r7, r8, [r0, #20]\n\t"
            "ldrd r9, r10, [r0, #28]\n\t"
            "vdup.32 q4, r8\n\t"
            "vdup.32 q5, r10\n\t"
            "ldrd r11, r0, [r0, #36]\n\t"
            "wlstp.32 lr, r12, 2f\n"
            "1:\n\t"
            "vldrb.s32 q0, [r1], #4\n\t"
            "vldrb.s32 q1, [r2], #4\n\t"
            "vadd.i32 q0, q0, r4\n\t"
            "vadd.i32 q1, q1, r5\n\t"
            "vshl.i32 q0, q0, #20\n\t"
            "vshl.i32 q1, q1, #20\n\t"
            "vqrdmulh.s32 q0, q0, r7\n\t"
            "vqrdmulh.s32 q1, q1, r9\n\t"
            /* One less for negatives where there is a shift: their ties go away from zero. */
            "vand q2, q0, q4\n\t"
            "vand q3, q1, q5\n\t"
            "vshr.s32 q2, q2, #31\n\t"
            "vshr.s32 q3, q3, #31\n\t"
            "vadd.i32 q0, q0, q2\n\t"
            "vadd.i32 q1, q1, q3\n\t"
            "vrshl.s32 q0, r8\n\t"
            "vrshl.s32 q1, r10\n\t"
            "vadd.i32 q0, q0, q1\n\t"
            "vqrdmulh.s32 q0, q0, r11\n\t"
            "vshr.s32 q1, q0, #31\n\t"
            "vadd.i32 q0, q0, q1\n\t"
            "vrshl.s32 q0, r0\n\t"
            "vadd.i32 q0, q0, r6\n\t"
            "vqmovnb.s32 q0, q0\n\t"
            "vqmovnb.s16 q0, q0\n\t"
            "vstrb.32 q0, [r3], #4\n\t"
            "letp lr, 1b\n"
            "2:\n\t"
            "vpop {d8-d13}\n\t"
            "pop {r3-r11, pc}");
}
#else
INLINE int32_t scale_input(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t high = (int32_t)(((int64_t)x * (1 << 20) * multiplier + ((int64_t)1 << 30)) >> 31);
    return shift == 0 ? high : (high + (high >> 31) + (1 << (-shift - 1))) >> -shift;
}

static void add_run(const struct mve_add *layer, const int8_t *a, const int8_t *b, int8_t *output, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        const int32_t sum = scale_input(a[i] - layer->zero_point_1, layer->multiplier_1, layer->shift_1) +
                            scale_input(b[i] - layer->zero_point_2, layer->multiplier_2, layer->shift_2);
        output[i] = (int8_t)requantize_lane(sum, layer->multiplier, layer->shift, layer->zero_point);
    }
}
#endif

/* a + b, where b starts again with every run. May work in place of a. */
KERNEL void mve_add(const struct mve_add *layer, const int8_t *a, const int8_t *b, int8_t *output, int32_t runs,
                    int32_t length)
{
    for (; runs > 0; runs--, a += length, output += length) {
        add_run(layer, a, b, output, length);
    }
}
