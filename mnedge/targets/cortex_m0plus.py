"""Cortex-M0+: Armv6-M, e.g. RP2040 (264 KiB SRAM, 2 MiB flash beside the chip, 133 MHz)."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="Cortex-M0+: portable C99",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="portable",
    device="qemu://cortex-m0plus",
    ram_bytes=264 << 10,
    flash_bytes=2 << 20,
    clock_mhz=133,
)
