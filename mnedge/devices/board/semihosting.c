/* The part of the start-up that all cores share: calls of the emulator, and memory as a C program expects it. */
#include <stdint.h>

extern uint32_t data_load, data_start, data_end, bss_start, bss_end;
int main(void);
/* The start-up code of each core has its own instruction for it. */
long semihost(long operation, const void *argument);

/* SYS_EXIT_EXTENDED: the code becomes the emulator's exit status. */
__attribute__((noreturn)) void board_exit(int code)
{
    const uint32_t arguments[2] = {0x20026u, (uint32_t)code};
    semihost(0x20, arguments);
    for (;;) {
    }
}

/* SYS_OPEN with mode "rb" (1) or "wb" (5). */
long board_open(const char *name, uint32_t length, int writing)
{
    const uint32_t arguments[3] = {(uint32_t)(uintptr_t)name, writing ? 5u : 1u, length};
    return semihost(0x01, arguments);
}

/* SYS_READ; returns the number of bytes that could not be read. */
long board_read(long file, void *data, uint32_t bytes)
{
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)(uintptr_t)data, bytes};
    return semihost(0x06, arguments);
}

/* SYS_WRITE; returns the number of bytes that could not be written. */
long board_write(long file, const void *data, uint32_t bytes)
{
    const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)(uintptr_t)data, bytes};
    return semihost(0x05, arguments);
}

/* Copies the initial values of variables, clears the others, and runs the program to its end. */
__attribute__((noreturn)) void board_main(void)
{
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    board_exit(main());
}
