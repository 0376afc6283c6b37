struct shallow_group;
/* Makes all output channels of groups of four pixels. */
typedef void mve_shallow_four(const uint32_t *packed, const struct shallow_group *group);

struct mve_shallow {
    /* For each two output channels: 16 weights of each, 0 behind the last input channel; two biases with
     * -input_zero_point * sum(weights); two multipliers; two shifts, -31 … -1. */
    const uint32_t *packed;
    mve_shallow_four *four; /* for how steps are rounded, and whether a table replaces them */
    const int8_t *table;    /* replaces each output step, or NULL */
    int32_t input_channels, output_channels, zero_point;
};

/* Groups of four pixels; the assembly below reads it by offset. */
struct shallow_group {
    const int8_t *input;  /* 0 */
    int8_t *output;       /* 4 */
    int32_t offsets[3];   /* 8: from the first pixel of a group to the others */
    int32_t channels;     /* 20: of the input */
    int32_t pairs;        /* 24: of output channels */
    int32_t count;        /* 28: groups side by side */
    int32_t zero_point;   /* 32: 128 more with a table */
    const int8_t *table;  /* 36 */
    uint16_t places[8];   /* 40: where the steps go: either channel of pixel 0, of pixel 1, … */
};

#if MVE
/* The pixels stay in q4 … q7, so that the output may take the place of pixels that were read; q3 is the places. */
#define SHALLOW(name, tie, narrow)                                                                              \
    __attribute__((naked, noinline, unused)) static void name(                                                  \
        __attribute__((unused)) const uint32_t *packed, __attribute__((unused)) const struct shallow_group *group) \
    {                                                                                                           \
        __asm__("push {r0, r1, r4-r11, lr}\n\t"                                                                 \
                "vpush {d8-d15}\n\t"                                                                            \
                "add r3, r1, #40\n\t"                                                                           \
                "vldrh.u16 q3, [r3]\n\t"                                                                        \
                "ldrd r9, r12, [r1, #32]\n\t"                                                                   \
                "ldr r11, [r1, #28]\n\t"                                                                        \
                "ldrd r1, r2, [r1]\n"                                                                           \
                "1:\n\t"                                                                                        \
                "ldrd r5, r3, [sp, #64]\n\t"                                                                    \
                "ldrd r4, r6, [r3, #8]\n\t"                                                                     \
                "ldrd r8, r10, [r3, #16]\n\t"                                                                   \
                "ldr r0, [r3, #24]\n\t"                                                                         \
                "vctp.8 r10\n\t"                                                                                \
                "add r4, r1\n\t"                                                                                \
                "add r6, r1\n\t"                                                                                \
                "add r8, r1\n\t"                                                                                \
                "mov r7, r2\n\t"                                                                                \
                "vpstttt\n\t"                                                                                   \
                "vldrbt.u8 q4, [r1]\n\t"                                                                        \
                "vldrbt.u8 q5, [r4]\n\t"                                                                        \
                "vldrbt.u8 q6, [r6]\n\t"                                                                        \
                "vldrbt.u8 q7, [r8]\n\t"                                                                        \
                "add r1, r1, r10, lsl #2\n\t"                                                                   \
                "add r2, r2, r0, lsl #3\n\t"                                                                    \
                "dls lr, r0\n"                                                                                  \
                "2:\n\t"                                                                                        \
                "vldrb.u8 q0, [r5], #16\n\t"                                                                    \
                "vmladav.s8 r4, q4, q0\n\t"                                                                     \
                "vmladav.s8 r6, q5, q0\n\t"                                                                     \
                "vmladav.s8 r8, q6, q0\n\t"                                                                     \
                "vmladav.s8 r10, q7, q0\n\t"                                                                    \
                "vmov q1[2], q1[0], r4, r8\n\t"                                                                 \
                "vmov q1[3], q1[1], r6, r10\n\t"                                                                \
                "vldrb.u8 q0, [r5], #16\n\t"                                                                    \
                "vmladav.s8 r4, q4, q0\n\t"                                                                     \
                "vmladav.s8 r6, q5, q0\n\t"                                                                     \
                "vmladav.s8 r8, q6, q0\n\t"                                                                     \
                "vmladav.s8 r10, q7, q0\n\t"                                                                    \
                "vmov q2[2], q2[0], r4, r8\n\t"                                                                 \
                "vmov q2[3], q2[1], r6, r10\n\t"                                                                \
                "ldm r5!, {r0, r3, r4, r6, r8, r10}\n\t"                                                        \
                "vadd.i32 q1, q1, r0\n\t"                                                                       \
                "vadd.i32 q2, q2, r3\n\t"                                                                       \
                "vqrdmulh.s32 q1, q1, r4\n\t"                                                                   \
                "vqrdmulh.s32 q2, q2, r6\n\t" tie                                                               \
                "vrshl.s32 q1, r8\n\t"                                                                          \
                "vrshl.s32 q2, r10\n\t"                                                                         \
                "vqmovnb.s32 q0, q1\n\t"                                                                        \
                "vqmovnt.s32 q0, q2\n\t"                                                                        \
                "vqadd.s16 q0, q0, r9\n\t" narrow                                                               \
                "vstrb.16 q0, [r7, q3]\n\t"                                                                     \
                "add r7, #2\n\t"                                                                                \
                "le lr, 2b\n\t"                                                                                 \
                "subs r11, #1\n\t"                                                                              \
                "bne 1b\n\t"                                                                                    \
                "vpop {d8-d15}\n\t"                                                                             \
                "pop {r0, r1, r4-r11, pc}");                                                                    \
    }
#define SHALLOW_TIES             \
    "vshr.s32 q0, q1, #31\n\t"   \
    "vadd.i32 q1, q1, q0\n\t"    \
    "vshr.s32 q0, q2, #31\n\t"   \
    "vadd.i32 q2, q2, q0\n\t"
#define SHALLOW_NARROW "vqmovnb.s16 q0, q0\n\t"
#define SHALLOW_TABLE            \
    "vqmovunb.s16 q0, q0\n\t"    \
    "vmovlb.u8 q1, q0\n\t"       \
    "vldrb.u16 q0, [r12, q1]\n\t"
/* _up: ties go up, which differs for steps below the zero point alone, and there is none. */
SHALLOW(mve_shallow_pixels, SHALLOW_TIES, SHALLOW_NARROW)
SHALLOW(mve_shallow_pixels_up, "", SHALLOW_NARROW)
SHALLOW(mve_shallow_pixels_table, SHALLOW_TIES, SHALLOW_TABLE)
SHALLOW(mve_shallow_pixels_table_up, "", SHALLOW_TABLE)
#else
KERNEL void mve_shallow_pixels(const uint32_t *packed, const struct shallow_group *group)
{
    const int32_t zero_point = group->zero_point - (group->table != NULL ? 128 : 0);
    for (int32_t i = 0; i < group->count; i++) {
        const int8_t *const input = group->input + i * 4 * group->channels;
        int8_t pixels[4][16];
        for (int32_t k = 0; k < 4 * group->channels; k++) {
            const int32_t pixel = k / group->channels, channel = k % group->channels;
            pixels[pixel][channel] = input[(pixel > 0 ? group->offsets[pixel - 1] : 0) + channel];
        }
        for (int32_t k = 0; k < 8 * group->pairs; k++) {
            const int32_t pixel = k >> 1 & 3, channel = k & 1;
            const uint32_t *const pair = packed + (k >> 3) * 14;
            uint32_t sum = pair[8 + channel];
            for (int32_t j = 0; j < group->channels; j++) {
                sum += (uint32_t)(pixels[pixel][j] * (int8_t)(pair[4 * channel + (j >> 2)] >> 8 * (j & 3) & 0xFFu));
            }
            const int32_t step = requantize_lane((int32_t)sum, (int32_t)pair[10 + channel], (int32_t)pair[12 + channel], zero_point);
            group->output[i * 8 * group->pairs + (k >> 3) * 2 + group->places[k & 7]] =
                group->table != NULL ? group->table[step + 128] : (int8_t)step;
        }
    }
}

#define mve_shallow_pixels_up mve_shallow_pixels
#define mve_shallow_pixels_table mve_shallow_pixels
#define mve_shallow_pixels_table_up mve_shallow_pixels
#endif

/* A dense 1x1 convolution of a run of pixels of at most 16 channels, four pixels and two output channels at a time. */
KERNEL void mve_shallow(const struct mve_shallow *layer, const int8_t *input, int8_t *output, int32_t pixels)
{
    const int32_t channels = layer->input_channels, outputs = layer->output_channels, whole = pixels & ~3;
    struct shallow_group group = {input, output, {0, 0, 0}, channels, outputs >> 1, pixels >> 2,
                                  layer->zero_point + (layer->table != NULL ? 128 : 0), layer->table, {0, 1, 0, 0, 0, 0, 0, 0}};
    for (int32_t i = 0; i < 2; i++) {
        /* Whole groups, then the pixels that are left, the last of which is computed several times. */
        const int32_t last = i == 0 ? 3 : pixels - whole - 1;
        if (i == 1) {
            group.input = input + whole * channels;
            group.output = output + whole * outputs;
            group.count = last >= 0;
        }
        if (group.count == 0) {
            continue;
        }
        for (int32_t pixel = 1; pixel < 4; pixel++) {
            const int32_t place = pixel < last ? pixel : last;
            group.offsets[pixel - 1] = place * channels;
            group.places[2 * pixel] = (uint16_t)(place * outputs);
            group.places[2 * pixel + 1] = (uint16_t)(place * outputs + 1);
        }
        layer->four(layer->packed, &group);
    }
}
