"""Arm Ethos-U85 with 2048 multiply-adds a cycle, compiled for by Vela; ops that Vela refuses run on the Cortex-M."""

from mnedge.targets._target import MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="Arm Ethos-U85, 2048 MACs a cycle: through Vela",
    formats=("tflite", "vela"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    accelerator="ethos-u85-2048",
)
