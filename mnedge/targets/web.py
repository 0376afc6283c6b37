"""Browsers: LiteRT.js (XNNPACK in wasm), and onnxruntime-web."""

from dataclasses import replace

from mnedge.targets import cpu

TARGET = replace(cpu.TARGET, description="browsers: LiteRT.js (XNNPACK in wasm), and onnxruntime-web")
