"""Cortex-M7: Armv7E-M with the DSP extension, e.g. STM32H743 (RM0433: 2 MiB flash, 1 MiB SRAM, 480 MHz)."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="Cortex-M7: C with DSP kernels",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="dsp",
    device="qemu://cortex-m7",
    ram_bytes=1 << 20,
    flash_bytes=2 << 20,
    clock_mhz=480,
)
