/* Start-up of a bare-metal Cortex-M program that talks to the emulator through semihosting. */
#include <stdint.h>

extern uint32_t stack_top;
long semihost(long operation, const void *argument);
__attribute__((noreturn)) void board_main(void);

long semihost(long operation, const void *argument)
{
    register long r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
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

#define VECTORS {(void (*)(void)) & stack_top, reset_handler, fault_handler, fault_handler, \
                 fault_handler, fault_handler, fault_handler, fault_handler}

/* What a stack outside of the RAM gives back are zeros, and a program that writes where they point writes over the table
 * at address 0: faults are taken from another one. */
__attribute__((noreturn)) static void reset_handler(void);
static void (*const vectors_of_faults[16])(void) __attribute__((aligned(128))) = VECTORS;

__attribute__((noreturn)) static void reset_handler(void)
{
    *(volatile uint32_t *)0xE000ED08u = (uint32_t)(uintptr_t)vectors_of_faults; /* VTOR */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: FPU and MVE on */
#if __ARM_ARCH >= 8
    *(volatile uint32_t *)0xE000ED14u |= (1u << 18) | (1u << 19); /* CCR: branch prediction, low-overhead loops */
#endif
    __asm__ volatile("dsb\n isb" ::: "memory");
    board_main();
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = VECTORS;
