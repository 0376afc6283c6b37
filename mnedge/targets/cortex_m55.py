"""Cortex-M55: Armv8.1-M with MVE (Helium), e.g. Alif Ensemble E3 (5.5 MiB MRAM, 4 MiB SRAM in one bank, 400 MHz)."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="Cortex-M55: C with MVE (Helium) kernels",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="mve",
    device="qemu://cortex-m55",
    ram_bytes=4 << 20,
    flash_bytes=5632 << 10,
    clock_mhz=400,
)
