"""Target: what an artifact is for. One target = one file of plain data beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mnedge import registry

# Exact in real arithmetic; HARD_SWISH stays, because generated C and an NPU make one table of it.
MICROCONTROLLER_PASSES = (
    "fold-shapes",
    "fuse-l2-normalization",
    "lower-to-multiply",
    "divide-to-multiply",
    "fold-pad",
    "fuse-activation",
    "sink-resize",
    "fold-constants",
    "fold-scale",
    "drop-identities",
)
# For models that others made: generated C has kernels for int8 alone, and joins within one scale.
MICROCONTROLLER_INT8_PASSES = (
    "fold-shapes",
    "sink-transposes",
    "fold-batch-norm",
    "fold-pad",
    "fuse-activation",
    "uint8-to-int8",
    "exp-to-int8",
    "rescale-concatenation",
    "drop-identities",
)


@dataclass(frozen=True)
class Target:
    """A target: all differences between targets, as data.

    Attributes:
        description: One line for `mnedge targets`.
        formats: Formats that are written: "tflite", "onnx", "c", "vela".
        runtimes: Names of the runtimes that execute its artifacts, the first one first.
        passes: Names of the passes that lower a float graph for it, in order.
        int8_passes: Names of the passes that lower an int8 graph for it, in order.
        tflite_passes: Names of the passes that an int8 graph gets on its way to .tflite, in order.
        onnx_passes: Names of the passes that an int8 graph gets on its way to ONNX, in order.
        granularity: Granularity of the weight scales.
        onnx_activations: dtype of activations in int8 ONNX: ONNX Runtime fuses uint8 on x86 and int8 on Arm.
        kernels: Kernel set of the generated C: "portable", "dsp" (Armv7E-M) or "mve" (Armv8.1-M).
        device: Device URI on which its C runs here; "" where there is none.
        accelerator: Accelerator name that Vela knows; "" where there is none.
        ram_bytes: RAM of a typical part; 0 where it does not matter.
        flash_bytes: Flash of a typical part; 0 where it does not matter.
        clock_mhz: Highest clock of that part; 0 where it is not known.
    """

    description: str
    formats: tuple[str, ...] = ("tflite", "onnx")
    runtimes: tuple[str, ...] = ("litert", "onnxruntime")
    passes: tuple[str, ...] = ()
    int8_passes: tuple[str, ...] = ()
    tflite_passes: tuple[str, ...] = ()
    onnx_passes: tuple[str, ...] = ()
    granularity: Literal["per-channel", "per-tensor"] = "per-channel"
    onnx_activations: Literal["uint8", "int8"] = "uint8"
    kernels: Literal["", "portable", "dsp", "mve"] = ""
    device: str = ""
    accelerator: str = ""
    ram_bytes: int = 0
    flash_bytes: int = 0
    clock_mhz: int = 0


def get(name: str) -> Target:
    """Looks a target up by the name of its file.

    Raises:
        InputError: No such target; the message names the known ones.
    """
    target: Target = registry.load("mnedge.targets", name, "TARGET")
    return target
