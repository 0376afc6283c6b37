"""Android phones: LiteRT with XNNPACK, and ONNX Runtime on Arm."""

from dataclasses import replace

from mnedge.targets import cpu

TARGET = replace(
    cpu.TARGET,
    description="Android phones: LiteRT with XNNPACK, and ONNX Runtime on Arm",
    onnx_activations="int8",
)
