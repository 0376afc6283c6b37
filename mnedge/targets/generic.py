"""Any 32-bit core with a C99 compiler."""

from mnedge.targets._target import Target

TARGET = Target(
    description="any 32-bit core: portable C99",
    formats=("tflite", "c"),
    runtimes=("litert",),
    kernels="portable",
)
