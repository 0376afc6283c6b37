"""What every runtime offers: a Session that runs a model on one batch after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mnedge import registry
from mnedge.graph.arithmetic import PIXEL_NUDGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.graph.graph import Quantization
    from mnedge.pixels import Pixels


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
        input: The first input.
        inputs: All inputs, in file order.
        outputs: All outputs, in file order.
    """

    version: str
    partitions: int | None
    input: TensorSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def ops(self) -> int:
        """Number of ops or nodes that run after the runtime's own rewriting."""
        ...

    def run(self, image: NDArray[Any], *others: NDArray[Any]) -> list[NDArray[Any]]:
        """Runs one sample; returns copies of all outputs in file order.

        Args:
            image: Of the first input's shape and dtype.
            others: Those of the further inputs, in file order.
        """
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


def encode(pictures: NDArray[np.uint8], spec: TensorSpec, pixels: Pixels) -> NDArray[Any]:
    """Brings 8-bit pictures to a model's input dtype.

    Args:
        pictures: uint8, NHWC, channels in the order of `pixels`.
        spec: The input; a quantized one must carry its quantization.
        pixels: What a picture is to the model.

    Returns:
        The shape of `pictures`, dtype of `spec`.
    """
    # What becomes of each of the 256 values, one column for all channels or one a channel.
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], max(len(pixels.scale), len(pixels.offset)), axis=1)
    table: NDArray[Any] = pixels.real(values)
    # With scale 1/127.5 every pixel of -1..1 lies half-way between two steps. Ties go up, all of them, so that each
    # pixel keeps a step of its own; rounding to even would merge neighbours.
    table = encode_values(table, spec)
    if table.shape[1] == 1:
        return np.take(table[:, 0], pictures)
    encoded: NDArray[Any] = table[pictures, np.arange(table.shape[1])]
    return encoded


def takes_pixels(spec: TensorSpec, pixels: Pixels) -> bool:
    """Whether an input takes the 8-bit pixel as it is: of uint8 the pixel, of int8 the pixel less 128."""
    if spec.dtype not in ("int8", "uint8") or spec.quantization is None:
        return False
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], spec.shape[-1], axis=1)
    steps = values.astype(np.int16) + np.iinfo(spec.dtype).min
    return bool((encode(values, spec, pixels) == steps).all())


def encode_values(values: NDArray[np.float32], spec: TensorSpec) -> NDArray[Any]:
    """Brings real values to a model's input dtype: to the nearest steps, ties up, where it is quantized."""
    if spec.quantization is None:
        return values.astype(spec.dtype)
    scale, zero_point = float(spec.quantization.scale[0]), int(spec.quantization.zero_point[0])
    limits = np.iinfo(spec.dtype)
    steps = np.floor(values.astype(np.float64) / scale + 0.5 + PIXEL_NUDGE) + zero_point
    encoded: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(spec.dtype)
    return encoded


def encoded(pictures: Iterable[NDArray[np.uint8]], spec: TensorSpec, pixels: Pixels) -> Iterator[NDArray[Any]]:
    """Encodes pictures, uint8 (height, width, channels) each, one after the other: (1, height, width, channels)."""
    for picture in pictures:
        yield encode(picture[None], spec, pixels)


def decode(values: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Brings an output to real values (float32); index outputs stay integers."""
    if spec.quantization is None:
        return values
    return spec.quantization.dequantize(values)
