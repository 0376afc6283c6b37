/* Start-up of a bare-metal RV32 program that talks to the emulator through semihosting. */
#include <stdint.h>

extern uint8_t stack_guard[];
extern uint32_t stack_top, stack_limit, data_load, data_start, data_end, bss_start, bss_end;
int main(void);

/* Three instructions that the emulator knows as one; they may not lie on two pages. */
__attribute__((naked, noinline, aligned(16))) static long semihost(__attribute__((unused)) long operation,
                                                                  __attribute__((unused)) const void *argument)
{
    __asm__(".option push\n\t"
            ".option norvc\n\t"
            "slli x0, x0, 0x1f\n\t"
            "ebreak\n\t"
            "srai x0, x0, 7\n\t"
            "ret\n\t"
            ".option pop");
}

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

/* As on Cortex-M: 93 for a stack that reached its end, 99 for any other trap. */
__attribute__((naked, aligned(4))) static void trap_handler(void)
{
    __asm__("la t0, stack_limit\n\t"
            "li a0, 99\n\t"
            "bgeu sp, t0, 1f\n\t"
            "li a0, 93\n"
            "1:\n\t"
            "la sp, stack_top\n\t"
            "j board_exit");
}

/* Nothing may be read or written within 1 MiB below the stack: what falls out of it traps, as on Cortex-M, where there
 * is no memory. */
static void protect(void)
{
    const uint32_t end = (uint32_t)(uintptr_t)stack_guard;
    __asm__ volatile(".option push\n\t"
                     ".option arch, +zicsr\n\t"
                     "csrw pmpaddr0, %0\n\t"
                     "csrw pmpaddr1, %1\n\t"
                     "csrw pmpcfg0, %2\n\t"
                     ".option pop"
                     :
                     : "r"((end - (1u << 20)) >> 2), "r"(end >> 2), "r"(0x88u << 8)); /* locked, from address 0 to 1 */
}

__attribute__((noreturn, used)) static void start(void)
{
    protect();
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    board_exit(main());
}

__attribute__((section(".vectors"), naked, used)) void reset_handler(void)
{
    __asm__(".option arch, +zicsr\n\t"
            "la sp, stack_top\n\t"
            "la t0, %0\n\t"
            "csrw mtvec, t0\n\t"
            "j %1"
            :
            : "i"(trap_handler), "i"(start));
}
