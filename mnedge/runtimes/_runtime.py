"""What every runtime offers: a Session that runs a model on one batch after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mnedge import registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.graph.graph import Quantization


# How far the ends of an input's range may lie from -1 and 1 for it to be meant: calibration seldom sees all of it.
_OTHER_RANGE = 0.4


@dataclass(frozen=True)
class TensorSpec:
    """What a model's input or output looks like.

    Attributes:
        name: As in the file.
        shape: With batch 1, NHWC for images.
        dtype: float32, int8, uint8 or what the task needs.
        quantization: Per tensor; None for real values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None


class Session(Protocol):
    """A loaded model; not shared between threads.

    Attributes:
        version: Runtime and version, e.g. "litert 2.3.0 (XNNPACK)".
        partitions: Delegate partitions (LiteRT) or None where the notion does not exist.
    """

    version: str
    partitions: int | None
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    @property
    def ops(self) -> int:
        """Number of ops or nodes that run after the runtime's own rewriting."""
        ...

    def run(self, image: NDArray[Any]) -> list[NDArray[Any]]:
        """Runs one image of `input.shape` and dtype; returns copies of all outputs in file order."""
        ...


@dataclass(frozen=True)
class Runtime:
    """An engine that executes artifacts. One runtime = one file with one `RUNTIME` of this type.

    Attributes:
        suffix: File suffix that it loads, with the dot; "" for a folder of C sources.
        open: Loads a model: (path, threads) -> Session. Raises ToolError where the engine is missing, InputError
            where it refuses the file.
        version: The engine's name and version, or None where it is not installed.
        is_default: Whether files of this suffix are loaded by it where no runtime is named.
    """

    suffix: str
    open: Callable[[Path, int], Session]
    version: Callable[[], str | None]
    is_default: bool = True


def get(name: str) -> Runtime:
    """Looks a runtime up by the name of its file.

    Raises:
        InputError: No such runtime; the message names the known ones.
    """
    runtime: Runtime = registry.load("mnedge.runtimes", name, "RUNTIME")
    return runtime


def for_file(path: Path) -> str:
    """Name of the runtime that loads a file, by suffix, or a folder of C sources.

    Raises:
        InputError: No runtime loads such a file.
    """
    from mnedge.errors import InputError

    suffixes = {get(name).suffix: name for name in registry.names("mnedge.runtimes") if get(name).is_default}
    suffix = "" if path.is_dir() else path.suffix or "a file without suffix"
    if suffix not in suffixes:
        known = ", ".join(known or "a folder of C sources" for known in suffixes)
        raise InputError(f"{path}: no runtime loads {suffix}; known: {known}")
    return suffixes[suffix]


def encode(pixels: NDArray[np.uint8], spec: TensorSpec) -> NDArray[Any]:
    """Brings 8-bit pixels to a model's input dtype.

    Real values are pixel / 127.5 - 1, the range that all MobileNets of this project take. A quantized input that stands
    for another range, 0 to 1 say, is one of a model of others: there the pixel's own value is the step, as whoever
    quantized it from pixels meant it.

    Args:
        pixels: uint8, NHWC.
        spec: The input; a quantized one must carry its quantization.

    Returns:
        The shape of `pixels`, dtype of `spec`.
    """
    real = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    if spec.quantization is None:
        return real.astype(spec.dtype)
    scale, zero_point = float(spec.quantization.scale[0]), int(spec.quantization.zero_point[0])
    limits = np.iinfo(spec.dtype)
    low, high = scale * (limits.min - zero_point), scale * (limits.max - zero_point)
    if limits.bits == 8 and max(abs(low + 1), abs(high - 1)) > _OTHER_RANGE:
        return (pixels.astype(np.int16) + limits.min).astype(spec.dtype)
    # With scale 1/127.5 every pixel lies half-way between two steps. Ties go up, all of them, so that each pixel
    # keeps a step of its own; rounding to even would merge neighbours.
    steps = np.floor(real.astype(np.float64) / scale + 0.5 + 1e-4) + zero_point
    encoded: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(spec.dtype)
    return encoded


def decode(values: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Brings an output to real values (float32); index outputs stay integers."""
    if spec.quantization is None:
        return values
    return spec.quantization.dequantize(values)
