/* Runs the model on every input of inputs.bin and writes outputs.bin, then the deepest stack in bytes. */
#include <stdint.h>

#include "@NAME@.h"

#define PAINT 0xC5C5C5C5u

void board_exit(int code);
long board_open(const char *name, uint32_t length, int writing);
long board_read(long file, void *data, uint32_t bytes);
long board_write(long file, const void *data, uint32_t bytes);

extern uint32_t stack_limit;

static uint8_t arena[@UPPER@_ARENA_BYTES + 1] __attribute__((aligned(16)));
static @INPUT_TYPE@ input[@UPPER@_INPUT_BYTES] __attribute__((aligned(8)));
static @OUTPUT_TYPE@ output[@OUTPUT_LENGTH@] __attribute__((aligned(8)));

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
    while (board_read(inputs, input, sizeof input) == 0) {
        uint32_t *const here = stack_pointer();
        /* volatile, lest the loop becomes a call of memset that paints over its own frame. */
        for (volatile uint32_t *word = &stack_limit; word < here; word++) {
            *word = PAINT;
        }
        roi_begin();
        const int status = @NAME@_run(input, output, arena);
        roi_end();
        const uint32_t *touched = &stack_limit;
        while (*touched == PAINT) {
            touched++;
        }
        const uint32_t depth = (uint32_t)((const uint8_t *)here - (const uint8_t *)touched);
        deepest = depth > deepest ? depth : deepest;
        if (status != 0) {
            return 91;
        }
        if (board_write(outputs, output, sizeof output) != 0) {
            return 92;
        }
    }
    return board_write(outputs, &deepest, sizeof deepest) == 0 ? 0 : 92;
}
