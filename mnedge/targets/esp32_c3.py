"""ESP32-C3: RV32IMC (400 KiB SRAM, 4 MiB flash in the package of most modules, 160 MHz)."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="ESP32-C3: portable C99",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="portable",
    device="qemu://esp32-c3",
    ram_bytes=400 << 10,
    flash_bytes=4 << 20,
    clock_mhz=160,
)
