struct mve_tile_row;
/* Makes all output channels of the two pixels of a row. */
typedef void mve_tile(const uint32_t *packed, struct mve_tile_row *row);

struct mve_pointwise {
    /* For each four output channels: four biases with -input_zero_point * sum(weights); their weights for each 16
     * input channels, 0 behind the last one; four multipliers; four shifts, -31 … -1, a byte each. */
    const uint32_t *packed, *packed_end;
    mve_tile *tiles;     /* for how steps are rounded, and what else there is */
    const int8_t *table; /* replaces each output step, or NULL */
    int32_t input_channels, output_channels, zero_point;
};

/* Two pixels under way; the assembly below reads it by offset. */
struct mve_tile_row {
    const int8_t *input, *next_input; /* 0, 4 */
    int32_t blocks, rest;             /* 8, 12: input channels / 16 and % 16 */
    int8_t *output;                   /* 16 */
    const uint32_t *packed_end;       /* 20 */
    int32_t zero_point;               /* 24: 128 more with a table */
    const int8_t *table;              /* 28 */
    uint16_t places[8];               /* 32: where the steps go: channel 0 of either pixel, channel 1 of either, … */
};

#if MVE
/* The rest of the input channels; their weights are filled up with zeros. */
#define REST_ALONE                      \
    "vctp.8 r9\n\t"                     \
    "vpstt\n\t"                         \
    "vldrbt.u8 q0, [r3]\n\t"            \
    "vldrbt.u8 q1, [r5]\n\t"            \
    "vldrb.u8 q2, [r7], #16\n\t"        \
    "vmladava.s8 r0, q0, q2\n\t"        \
    "vmladava.s8 r8, q1, q2\n\t"        \
    "vldrb.u8 q2, [r7], #16\n\t"        \
    "vmladava.s8 r2, q0, q2\n\t"        \
    "vmladava.s8 r10, q1, q2\n\t"       \
    "vldrb.u8 q2, [r7], #16\n\t"        \
    "vmladava.s8 r4, q0, q2\n\t"        \
    "vmladava.s8 r12, q1, q2\n\t"       \
    "vldrb.u8 q2, [r7], #16\n\t"        \
    "vmladava.s8 r6, q0, q2\n\t"        \
    "vmladava.s8 lr, q1, q2\n\t"
/* Input channels: sixteens alone, a rest alone, or both. */
#define SIXTEENS(rest)                  \
    "2:\n\t"                            \
    "vldrb.u8 q2, [r7], #16\n\t"        \
    "vldrb.u8 q0, [r3], #16\n\t"        \
    "vldrb.u8 q1, [r5], #16\n\t"        \
    "vmladava.s8 r0, q0, q2\n\t"        \
    "vmladava.s8 r8, q1, q2\n\t"        \
    "vldrb.u8 q2, [r7], #16\n\t"        \
    "vmladava.s8 r2, q0, q2\n\t"        \
    "vmladava.s8 r10, q1, q2\n\t"       \
    "vldrb.u8 q2, [r7], #16\n\t"        \
    "vmladava.s8 r4, q0, q2\n\t"        \
    "vmladava.s8 r12, q1, q2\n\t"       \
    "vldrb.u8 q2, [r7], #16\n\t"        \
    "vmladava.s8 r6, q0, q2\n\t"        \
    "vmladava.s8 lr, q1, q2\n\t"        \
    "subs r9, #1\n\t"                   \
    "bne 2b\n\t" rest
#define REST "ldr r9, [r11, #12]\n\t" REST_ALONE
#define ALL_SIXTEENS SIXTEENS("")
#define SIXTEENS_AND_REST SIXTEENS(REST)
/* Of steps of 16 bits in q4, from the table at r1 or not. */
#define FROM_TABLE                      \
    "vqmovunb.s16 q4, q4\n\t"           \
    "vmovlb.u8 q5, q4\n\t"              \
    "vldrb.u16 q4, [r1, q5]\n\t"
#define AS_THEY_ARE "vqmovnb.s16 q4, q4\n\t"

/* Defines a function for all output channels of two pixels, four by four. Sums are in r0 r2 r4 r6 and r8 r10 r12 lr; q6 is
 * the zero point, q7 the places. `high` multiplies, with a rounding of its own or not, and `tie` handles the ties of
 * negatives. */
#define TILES(name, high, tie, first, sums, steps)                                                              \
    __attribute__((naked, noinline, unused)) static void name(__attribute__((unused)) const uint32_t *packed,   \
                                                              __attribute__((unused)) struct mve_tile_row *row)     \
    {                                                                                                           \
        __asm__("push {r3-r11, lr}\n\t"                                                                         \
                "vpush {d8-d15}\n\t"                                                                            \
                "mov r7, r0\n\t"                                                                                \
                "mov r11, r1\n\t"                                                                               \
                "add r9, r11, #32\n\t"                                                                          \
                "vldrh.u16 q7, [r9]\n\t"                                                                        \
                "ldrd r9, r1, [r11, #24]\n\t"                                                                   \
                "vdup.16 q6, r9\n"                                                                              \
                "1:\n\t"                                                                                        \
                "ldrd r3, r5, [r11]\n\t"                                                                        \
                "ldr r9, [r11, #" first "]\n\t"                                                                       \
                "ldrd r8, r10, [r7]\n\t"                                                                        \
                "ldrd r12, lr, [r7, #8]\n\t"                                                                    \
                "ldrd r0, r2, [r7], #8\n\t"                                                                     \
                "ldrd r4, r6, [r7], #8\n\t" sums                                                                \
                "vldrw.u32 q2, [r7], #16\n\t"                                                                   \
                "vmov q0[2], q0[0], r0, r4\n\t"                                                                 \
                "vmov q0[3], q0[1], r2, r6\n\t"                                                                 \
                "vmov q1[2], q1[0], r8, r12\n\t"                                                                \
                "vmov q1[3], q1[1], r10, lr\n\t"                                                                \
                "vldrb.s32 q3, [r7], #4\n\t"                                                                    \
                high ".s32 q0, q0, q2\n\t"                                                                      \
                high ".s32 q1, q1, q2\n\t"                                                                      \
                tie                                                                                             \
                "vrshl.s32 q0, q0, q3\n\t"                                                                      \
                "vrshl.s32 q1, q1, q3\n\t"                                                                      \
                "vqmovnb.s32 q4, q0\n\t"                                                                        \
                "vqmovnt.s32 q4, q1\n\t"                                                                        \
                "ldrd r9, r3, [r11, #16]\n\t"                                                                   \
                "vqadd.s16 q4, q4, q6\n\t" steps                                                                \
                "vstrb.16 q4, [r9, q7]\n\t"                                                                     \
                "add r9, #4\n\t"                                                                                \
                "str r9, [r11, #16]\n\t"                                                                        \
                "cmp r7, r3\n\t"                                                                                \
                "bne 1b\n\t"                                                                                    \
                "vpop {d8-d15}\n\t"                                                                             \
                "pop {r3-r11, pc}");                                                                            \
    }
/* One less for negatives: their ties go away from zero. */
#define TIES_AWAY               \
    "vshr.s32 q4, q0, #31\n\t"  \
    "vadd.i32 q0, q0, q4\n\t"   \
    "vshr.s32 q4, q1, #31\n\t"  \
    "vadd.i32 q1, q1, q4\n\t"
/* _up: ties go up, which differs for steps below the zero point alone, and there is none. _once: one rounding, as LiteRT's
 * FULLY_CONNECTED has it, and no other op. _16: input channels in sixteens; _rest: less than 16. _table: a table replaces
 * steps. */
TILES(mve_tiles, "vqrdmulh", TIES_AWAY, "8", SIXTEENS_AND_REST, AS_THEY_ARE)
TILES(mve_tiles_table, "vqrdmulh", TIES_AWAY, "8", SIXTEENS_AND_REST, FROM_TABLE)
TILES(mve_tiles_16, "vqrdmulh", TIES_AWAY, "8", ALL_SIXTEENS, AS_THEY_ARE)
TILES(mve_tiles_16_table, "vqrdmulh", TIES_AWAY, "8", ALL_SIXTEENS, FROM_TABLE)
TILES(mve_tiles_rest, "vqrdmulh", TIES_AWAY, "12", REST_ALONE, AS_THEY_ARE)
TILES(mve_tiles_rest_table, "vqrdmulh", TIES_AWAY, "12", REST_ALONE, FROM_TABLE)
TILES(mve_tiles_up, "vqrdmulh", "", "8", SIXTEENS_AND_REST, AS_THEY_ARE)
TILES(mve_tiles_up_table, "vqrdmulh", "", "8", SIXTEENS_AND_REST, FROM_TABLE)
TILES(mve_tiles_up_16, "vqrdmulh", "", "8", ALL_SIXTEENS, AS_THEY_ARE)
TILES(mve_tiles_up_16_table, "vqrdmulh", "", "8", ALL_SIXTEENS, FROM_TABLE)
TILES(mve_tiles_up_rest, "vqrdmulh", "", "12", REST_ALONE, AS_THEY_ARE)
TILES(mve_tiles_up_rest_table, "vqrdmulh", "", "12", REST_ALONE, FROM_TABLE)
TILES(mve_tiles_once, "vqdmulh", "", "8", SIXTEENS_AND_REST, AS_THEY_ARE)
TILES(mve_tiles_once_table, "vqdmulh", "", "8", SIXTEENS_AND_REST, FROM_TABLE)
TILES(mve_tiles_once_16, "vqdmulh", "", "8", ALL_SIXTEENS, AS_THEY_ARE)
TILES(mve_tiles_once_16_table, "vqdmulh", "", "8", ALL_SIXTEENS, FROM_TABLE)
TILES(mve_tiles_once_rest, "vqdmulh", "", "12", REST_ALONE, AS_THEY_ARE)
TILES(mve_tiles_once_rest_table, "vqdmulh", "", "12", REST_ALONE, FROM_TABLE)
#else
INLINE void tiles(const uint32_t *packed, struct mve_tile_row *row, int once)
{
    for (; packed != row->packed_end; row->output += 4) {
        const uint32_t *const bias = packed;
        const uint32_t *const weights = packed + 4;
        packed = weights + row->blocks * 16 + (row->rest > 0 ? 16 : 0);
        for (int32_t i = 0; i < 8; i++) {
            const int8_t *const pixel = i & 1 ? row->next_input : row->input;
            uint32_t sum = bias[i >> 1];
            for (int32_t k = 0; k < row->blocks * 16 + row->rest; k++) {
                const int32_t byte = (k >> 4) * 64 + (i >> 1) * 16 + (k & 15);
                sum += (uint32_t)(pixel[k] * (int8_t)(weights[byte >> 2] >> 8 * (byte & 3) & 0xFFu));
            }
            const int32_t shift = (int8_t)(packed[4] >> 8 * (i >> 1) & 0xFFu);
            const int32_t zero_point = row->zero_point - (row->table != NULL ? 128 : 0);
            const int32_t step = (once ? requantize_lane_once : requantize_lane)((int32_t)sum, (int32_t)packed[i >> 1], shift,
                                                                                 zero_point);
            row->output[row->places[i]] = row->table != NULL ? row->table[step + 128] : (int8_t)step;
        }
        packed += 5;
    }
}

KERNEL void mve_tiles(const uint32_t *packed, struct mve_tile_row *row)
{
    tiles(packed, row, 0);
}

KERNEL void mve_tiles_once(const uint32_t *packed, struct mve_tile_row *row)
{
    tiles(packed, row, 1);
}

#define mve_tiles_table mve_tiles
#define mve_tiles_16 mve_tiles
#define mve_tiles_16_table mve_tiles
#define mve_tiles_rest mve_tiles
#define mve_tiles_rest_table mve_tiles
#define mve_tiles_up mve_tiles
#define mve_tiles_up_table mve_tiles
#define mve_tiles_up_16 mve_tiles
#define mve_tiles_up_16_table mve_tiles
#define mve_tiles_up_rest mve_tiles
#define mve_tiles_up_rest_table mve_tiles
#define mve_tiles_once_table mve_tiles_once
#define mve_tiles_once_16 mve_tiles_once
#define mve_tiles_once_16_table mve_tiles_once
#define mve_tiles_once_rest mve_tiles_once
#define mve_tiles_once_rest_table mve_tiles_once
#endif

/* Where the steps of two pixels go, the second one `next` bytes behind the first. */
INLINE void place_tiles(struct mve_tile_row *row, int32_t next)
{
    for (int32_t i = 0; i < 4; i++) {
        row->places[2 * i] = (uint16_t)i;
        row->places[2 * i + 1] = (uint16_t)(i + next);
    }
}

/* Two pixels side by side, whose second one's steps go `next` bytes behind the first one's. */
INLINE struct mve_tile_row start_row(const struct mve_pointwise *layer, const int8_t *input, int32_t next)
{
    struct mve_tile_row row = {input, input + layer->input_channels, layer->input_channels >> 4, layer->input_channels & 15, NULL,
                           layer->packed_end, layer->zero_point + (layer->table != NULL ? 128 : 0), layer->table,
                           {0, 0, 0, 0, 0, 0, 0, 0}};
    place_tiles(&row, next);
    return row;
}

/* A dense 1x1 convolution of a run of pixels, two pixels and four output channels at a time. scratch holds two output
 * pixels where the channels are no multiple of four. */
KERNEL void mve_pointwise(const struct mve_pointwise *layer, const int8_t *input, int8_t *output, int32_t pixels,
                          int8_t *scratch)
{
    const int32_t channels = layer->output_channels, whole = (channels + 3) & ~3;
    struct mve_tile_row row = start_row(layer, input, channels == whole ? channels : whole);
    for (; pixels > 0; pixels -= 2) {
        /* The last pixel of an odd run is computed twice. */
        const int32_t step = pixels > 1;
        if (!step) {
            place_tiles(&row, channels == whole ? 0 : whole);
        }
        row.input = input;
        row.next_input = input + step * layer->input_channels;
        row.output = channels == whole ? output : scratch;
        layer->tiles(layer->packed, &row);
        for (int32_t i = 0; i < channels && channels != whole; i++) {
            output[i] = scratch[i];
            output[step * channels + i] = scratch[whole + i];
        }
        input += 2 * layer->input_channels;
        output += 2 * channels;
    }
}
