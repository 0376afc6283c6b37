"""Any 32-bit core with a C99 compiler."""

from mnedge.targets._target import MICROCONTROLLER_INT8_PASSES, MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="any 32-bit core: portable C99",
    formats=("tflite", "c"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    int8_passes=MICROCONTROLLER_INT8_PASSES,
    kernels="portable",
)
