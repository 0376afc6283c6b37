"""Cortex-M4F: Armv7E-M with the DSP extension, e.g. STM32L4R5 (RM0432: 2 MiB flash, 640 KiB SRAM, 120 MHz)."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="Cortex-M4F: C with DSP kernels",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="dsp",
    device="qemu://cortex-m4",
    ram_bytes=640 << 10,
    flash_bytes=2 << 20,
    clock_mhz=120,
)
