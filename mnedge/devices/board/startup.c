/* Start-up of a bare-metal Cortex-M program that talks to the emulator through semihosting. */
#include <stdint.h>

extern uint32_t stack_top, data_load, data_start, data_end, bss_start, bss_end;
int main(void);

static long semihost(long operation, const void *argument)
{
    register long r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
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

/* A stack that fell out of the RAM holds no frame of a handler: 93 from a stack of our own, as for one that reached its
 * end; any other fault is 99. */
__attribute__((naked)) static void fault_handler(void)
{
    __asm__("mov r0, sp\n\t"
            "ldr r1, =stack_limit\n\t"
            "ldr r2, =stack_top\n\t"
            "mov sp, r2\n\t"
            "cmp r0, r1\n\t"
            "blo 1f\n\t"
            "movs r0, #99\n\t"
            "b 2f\n"
            "1:\n\t"
            "movs r0, #93\n"
            "2:\n\t"
            "bl board_exit");
}

__attribute__((noreturn)) static void reset_handler(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: FPU and MVE on */
#if __ARM_ARCH >= 8
    *(volatile uint32_t *)0xE000ED14u |= (1u << 18) | (1u << 19); /* CCR: branch prediction, low-overhead loops */
#endif
    __asm__ volatile("dsb\n isb" ::: "memory");
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    board_exit(main());
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void)) & stack_top, reset_handler, fault_handler, fault_handler,
    fault_handler, fault_handler, fault_handler, fault_handler,
};
