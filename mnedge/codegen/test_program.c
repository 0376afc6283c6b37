/* Runs @NAME@ on vectors from LiteRT's reference kernels; every byte must be equal. Arena, input, output and the stack
 * frame of the call lie between two guards, which no run may change; with AddressSanitizer they may not be touched at all. */
#include <stdint.h>

#ifndef ARDUINO /* which compiles every file of a library */
#include <stdio.h>
#include <string.h>

#include "@NAME@.h"

#define VECTORS @COUNT@
#define OUTPUT_BYTES @OUTPUT_BYTES@
#define GUARD_BYTES 64
#define PAINT 0xC5
/* As many words as `bytes` and two guards take: the words give the alignment. */
#define ROOM(bytes) (((bytes) + 2 * GUARD_BYTES + 7) / 8)

#if defined(__SANITIZE_ADDRESS__)
#define GUARDS_ARE_POISONED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GUARDS_ARE_POISONED 1
#endif
#endif
#ifdef GUARDS_ARE_POISONED
void __asan_poison_memory_region(void const volatile *start, size_t bytes);
void __asan_unpoison_memory_region(void const volatile *start, size_t bytes);
#else
#define __asan_poison_memory_region(start, bytes) ((void)(start))
#define __asan_unpoison_memory_region(start, bytes) ((void)(start))
#endif

@INPUTS@
@OUTPUTS@
static uint64_t arena_room[ROOM(@UPPER@_ARENA_BYTES)], input_room[ROOM(@UPPER@_INPUT_BYTES)];
static uint64_t output_room[ROOM(OUTPUT_BYTES)];

/* What lies between the guards. */
static unsigned char *guard(uint64_t *room, size_t bytes)
{
    unsigned char *const before = (unsigned char *)room, *const after = before + GUARD_BYTES + bytes;
    memset(before, PAINT, GUARD_BYTES);
    memset(after, PAINT, GUARD_BYTES);
    __asan_poison_memory_region(before, GUARD_BYTES);
    __asan_poison_memory_region(after, GUARD_BYTES);
    return before + GUARD_BYTES;
}

static int changed(const volatile unsigned char *bytes, const char *side, const char *what)
{
    for (int i = 0; i < GUARD_BYTES; i++) {
        if (bytes[i] != PAINT) {
            printf("@NAME@_run wrote %s the %s\n", side, what);
            return 1;
        }
    }
    return 0;
}

static int is_overrun(uint64_t *room, size_t bytes, const char *what)
{
    unsigned char *const before = (unsigned char *)room, *const after = before + GUARD_BYTES + bytes;
    __asan_unpoison_memory_region(before, GUARD_BYTES);
    __asan_unpoison_memory_region(after, GUARD_BYTES);
    return changed(before, "before", what) | changed(after, "after", what);
}

/* A vector's run between two guards on the stack; 1 where it failed. */
static int run(int vector)
{
    struct {
        volatile unsigned char before[GUARD_BYTES];
        int status;
        volatile unsigned char after[GUARD_BYTES];
    } frame;
    for (int i = 0; i < GUARD_BYTES; i++) {
        frame.before[i] = frame.after[i] = PAINT;
    }
    unsigned char *const arena = guard(arena_room, @UPPER@_ARENA_BYTES);
    unsigned char *const input = guard(input_room, @UPPER@_INPUT_BYTES);
    unsigned char *const output = guard(output_room, OUTPUT_BYTES);
    memcpy(input, inputs + vector * @UPPER@_INPUT_BYTES, @UPPER@_INPUT_BYTES);
    frame.status = @NAME@_run((const @IN@ *)(const void *)input, (@OUT@ *)(void *)output, arena);
    int failed = changed(frame.before, "before", "frame of the call");
    failed |= changed(frame.after, "after", "frame of the call");
    failed |= is_overrun(arena_room, @UPPER@_ARENA_BYTES, "arena");
    failed |= is_overrun(input_room, @UPPER@_INPUT_BYTES, "input");
    failed |= is_overrun(output_room, OUTPUT_BYTES, "output");
    if (memcmp(input, inputs + vector * @UPPER@_INPUT_BYTES, @UPPER@_INPUT_BYTES) != 0) {
        printf("@NAME@_run changed its input\n");
        failed = 1;
    }
    if (frame.status != 0 || memcmp(output, outputs + vector * OUTPUT_BYTES, OUTPUT_BYTES) != 0) {
        printf("vector %d differs\n", vector);
        failed = 1;
    }
    return failed;
}

int main(void)
{
    int failures = @RESET@;
    for (int vector = 0; vector < VECTORS; vector++) {
        failures += run(vector);
    }
    printf("%d of %d vectors equal\n", VECTORS - failures, VECTORS);
    return failures != 0;
}
#endif
