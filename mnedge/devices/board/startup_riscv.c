/* Start-up of a bare-metal RV32 program that talks to the emulator through semihosting. */
#include <stdint.h>

extern uint8_t stack_guard[];
extern uint32_t stack_top, stack_limit;
long semihost(long operation, const void *argument);
__attribute__((noreturn)) void board_main(void);

/* Three instructions that the emulator knows as one; they may not lie on two pages. */
__attribute__((naked, noinline, aligned(16))) long semihost(__attribute__((unused)) long operation,
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
    board_main();
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
