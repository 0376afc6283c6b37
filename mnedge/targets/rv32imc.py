"""RV32IMC without vectors: e.g. ESP32-C3 (400 KiB SRAM, 4 MiB flash beside the chip, 160 MHz)."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="RISC-V RV32IMC: portable C99",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="portable",
    device="qemu://rv32imc",
    ram_bytes=400 << 10,
    flash_bytes=4 << 20,
    clock_mhz=160,
)
