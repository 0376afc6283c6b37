"""Choices: the values that both a function and its command line option take, and defaults that both name.

The command line is made of these, so that `--help` imports no craft.
"""

from typing import Literal

# Name of a task: a file of mnedge/tasks.
Task = str
DEFAULT_TASK: Task = "classify"
Method = Literal["ptq", "qat"]
Effort = Literal["fast", "default", "max"]
# int16 activations with int8 weights (16x8) everywhere, or where they bring most within a latency budget.
Activations = Literal["int8", "int16", "mixed"]
# Bits of the weights of dense layers; mixed has 4 where they hardly add to the noise.
WeightBits = Literal["8", "4", "mixed"]
IoDtype = Literal["int8", "uint8", "float32"]
Granularity = Literal["per-channel", "per-tensor"]
PostProcessing = Literal["inside", "outside"]
OnnxActivations = Literal["uint8", "int8"]
# Runtime of an Android app: MediaPipe Tasks, LiteRT's CompiledModel or ONNX Runtime.
AndroidRuntime = Literal["tasks", "litert", "onnx"]
# C without an interpreter, or a project for TensorFlow Lite Micro.
Form = Literal["c", "tflm"]
# Preference: the smallest arena, layer by layer, the smallest flash, or in between.
Prefer = Literal["balanced", "ram", "speed", "flash"]
# dtype policy of Keras; the mixed ones are for GPUs.
TrainingPrecision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
ClassWeights = Literal["balanced", "none"]
Strength = Literal["none", "light", "default"]
# What `mnedge lock` writes where nothing else is said, and `--locked` reads where the build has no manifest yet.
CONSTRAINTS = "mnedge-constraints.txt"
