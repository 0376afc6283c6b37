"""Raspberry Pi 5 (Cortex-A76, with dot product): LiteRT with XNNPACK, and ONNX Runtime on Arm."""

from dataclasses import replace

from mnedge.targets import cpu

TARGET = replace(
    cpu.TARGET,
    description="Raspberry Pi 5 (Cortex-A76, with dot product): LiteRT with XNNPACK, and ONNX Runtime on Arm",
    onnx_activations="int8",
)
