"""Arm Ethos-U85 with 1024 multiply-adds a cycle, compiled for by Vela; ops that Vela refuses run on the Cortex-M."""

from mnedge.targets._target import MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="Arm Ethos-U85, 1024 MACs a cycle: through Vela",
    formats=("tflite", "vela"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    accelerator="ethos-u85-1024",
)
