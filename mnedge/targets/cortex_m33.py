"""Cortex-M33: Armv8-M with the DSP extension, e.g. STM32U585 (2 MiB flash, 786 KiB SRAM, 160 MHz)."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="Cortex-M33: C with DSP kernels",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="dsp",
    device="qemu://cortex-m33",
    ram_bytes=786 << 10,
    flash_bytes=2 << 20,
    clock_mhz=160,
)
