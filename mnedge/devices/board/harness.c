/* Runs the model on every input of inputs.bin and writes outputs.bin, then the deepest stack in bytes. Arena, input, output
 * and stack each lie between two guards; a guard that a run changes ends the program, as does a stack that reaches its end. */
#include <stdint.h>
#include <string.h>

#include "@NAME@.h"

#define PAINT 0xC5C5C5C5u
#define GUARD_BYTES @GUARD_BYTES@
#define GUARDED(type, name, bytes)                       \
    static struct {                                      \
        uint8_t before[GUARD_BYTES];                     \
        type data[(bytes) / sizeof(type)];           \
        uint8_t after[GUARD_BYTES];                      \
    } name __attribute__((aligned(16)))

void board_exit(int code);
long board_open(const char *name, uint32_t length, int writing);
long board_read(long file, void *data, uint32_t bytes);
long board_write(long file, const void *data, uint32_t bytes);

extern uint32_t stack_limit;
extern uint8_t stack_guard[], stack_top[];

GUARDED(uint8_t, arena, @UPPER@_ARENA_BYTES);
GUARDED(@INPUT_TYPE@, input, @UPPER@_INPUT_BYTES);
GUARDED(@OUTPUT_TYPE@, output, @OUTPUT_LENGTH@ * sizeof(@OUTPUT_TYPE@));

/* In the order of their exit codes, the first of which is FIRST_GUARD. */
#define FIRST_GUARD 100
static uint8_t *const guards[] = {
    arena.before, arena.after, input.before, input.after, output.before, output.after, stack_guard, stack_top,
};
enum { GUARDS = sizeof guards / sizeof *guards };

/* The counter of instructions looks for calls of these two. */
__attribute__((noinline)) void roi_begin(void)
{
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) void roi_end(void)
{
    __asm__ volatile("" ::: "memory");
}

static uint32_t *stack_pointer(void)
{
    uint32_t *pointer;
    __asm__ volatile("mov %0, sp" : "=r"(pointer));
    return pointer;
}

int main(void)
{
    const long inputs = board_open("inputs.bin", 10, 0);
    const long outputs = board_open("outputs.bin", 11, 1);
    if (inputs < 0 || outputs < 0) {
        return 90;
    }
    uint32_t deepest = 0;
    for (int i = 0; i < GUARDS; i++) {
        memset(guards[i], 0xC5, GUARD_BYTES);
    }
    if (@RESET@ != 0) {
        return 91;
    }
    while (board_read(inputs, input.data, sizeof input.data) == 0) {
        uint32_t *const here = stack_pointer();
        /* volatile, lest the loop becomes a call of memset that paints over its own frame. */
        for (volatile uint32_t *word = &stack_limit; word < here; word++) {
            *word = PAINT;
        }
        roi_begin();
        const int status = @NAME@_run(input.data, output.data, arena.data);
        roi_end();
        const uint32_t *touched = &stack_limit;
        while (*touched == PAINT) {
            touched++;
        }
        if (touched == &stack_limit) {
            return 93;
        }
        for (int i = 0; i < GUARDS; i++) {
            for (int k = 0; k < GUARD_BYTES; k++) {
                if (guards[i][k] != 0xC5) {
                    return FIRST_GUARD + i;
                }
            }
        }
        const uint32_t depth = (uint32_t)((const uint8_t *)here - (const uint8_t *)touched);
        deepest = depth > deepest ? depth : deepest;
        if (status != 0) {
            return 91;
        }
        if (board_write(outputs, output.data, sizeof output.data) != 0) {
            return 92;
        }
    }
    return board_write(outputs, &deepest, sizeof deepest) == 0 ? 0 : 92;
}
