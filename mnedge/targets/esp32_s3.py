"""ESP32-S3: Xtensa LX7 (512 KiB SRAM, 8 MiB flash beside the chip of most modules, 240 MHz); no board is emulated."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="ESP32-S3: portable C99",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="portable",
    ram_bytes=512 << 10,
    flash_bytes=8 << 20,
    clock_mhz=240,
)
