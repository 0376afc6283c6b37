"""Arm Ethos-U55 with 256 multiply-adds a cycle, compiled for by Vela; ops that Vela refuses run on the Cortex-M."""

from mnedge.targets._target import MICROCONTROLLER_PASSES, Target

TARGET = Target(
    description="Arm Ethos-U55, 256 MACs a cycle: through Vela",
    formats=("tflite", "vela"),
    runtimes=("litert",),
    passes=MICROCONTROLLER_PASSES,
    accelerator="ethos-u55-256",
)
