"""Phones, Raspberry Pi and PCs: LiteRT with XNNPACK, and ONNX Runtime."""

from mnedge.targets._target import Target

TARGET = Target(description="phones, Raspberry Pi, PC: LiteRT with XNNPACK, ONNX Runtime on x86")
