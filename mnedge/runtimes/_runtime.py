"""Interface of every runtime: a Session that runs a model on one batch after the other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mnedge.foreign import MODEL_BYTES, is_file, read_file
from mnedge.graph.arithmetic import PIXEL_NUDGE
from mnedge.text import utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.graph.graph import Quantization
    from mnedge.pixels import Pixels
    from mnedge.untyped import AnyArray


@dataclass(frozen=True)
class TensorSpec:
    """Input or output of a model.

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
        undelegated: Kinds of the ops that no delegate took, in order of execution.
        inputs: All inputs, in file order.
        input: The first one.
        outputs: All outputs, in file order.
    """

    version: str
    partitions: int | None
    undelegated: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]

    @property
    def ops(self) -> int:
        """Number of ops or nodes that run after the runtime's own rewriting."""
        ...

    def run(self, *images: AnyArray) -> list[AnyArray]:
        """Runs images of the inputs' shapes and dtypes, in file order; returns copies of all outputs, in file order."""
        ...

    def look(self, *images: AnyArray) -> list[AnyArray]:
        """Runs images like `run`, but the outputs may be views: the session runs again only after they are gone."""
        ...

    def time_ms(self, *images: AnyArray, runs: int, seconds: float = 0.0, copies: bool = True) -> NDArray[np.float64]:
        """Times runs, in the process that has the runtime.

        Args:
            images: As `run` takes them.
            runs: Fewest runs.
            seconds: Shortest time of measuring.
            copies: Whether copying inputs in and outputs out counts, where the runtime lets it be left out; without,
                one run that does not count goes before.

        Returns:
            Milliseconds of each run.
        """
        ...


@dataclass(frozen=True)
class Runtime:
    """An engine that executes artifacts. One runtime = one file with one `RUNTIME` of this type.

    Attributes:
        suffix: File suffix that it loads, with the dot; "" for a folder of C sources.
        open: Loads a model: (path, threads) -> Session. Raises ToolError where the engine is missing, InputError
            where it refuses the file. A `RUNTIME`'s own loads in this process; that of `mnedge.runtimes.get` in a
            child.
        version: The engine's name and version, or None where it is not installed.
        is_default: Whether files of this suffix are loaded by it where no runtime is named.
        module: Module that `open` imports; a child imports it before the time of loading counts. "" for nothing.
        also: Further suffixes that it loads.
    """

    suffix: str
    open: Callable[..., Session]
    version: Callable[[], str | None]
    is_default: bool = True
    module: str = ""
    also: tuple[str, ...] = ()


def path_or_bytes(path: Path) -> str | bytes:
    """A file's path as engines take it: those of no UTF-8 are none to them, so they get what the file holds."""
    text = str(path)
    return text if utf8(text) == text or not is_file(path) else read_file(path, MODEL_BYTES)


def timed_ms(run: Callable[[], object], runs: int, seconds: float) -> NDArray[np.float64]:
    """Milliseconds of each call of `run`: at least so many calls, and at least so many seconds."""
    samples: list[float] = []
    until = time.perf_counter() + seconds
    while len(samples) < runs or time.perf_counter() < until:
        begin = time.perf_counter_ns()
        run()
        samples.append((time.perf_counter_ns() - begin) / 1e6)
    return np.array(samples)


def encode(pictures: NDArray[np.uint8], spec: TensorSpec, pixels: Pixels) -> AnyArray:
    """Brings 8-bit pictures to a model's input dtype.

    Args:
        pictures: uint8, NHWC, channels in the order of `pixels`.
        spec: The input; a quantized one must carry its quantization.
        pixels: Pixels of the model.

    Returns:
        The shape of `pictures`, dtype of `spec`.
    """
    # What becomes of each of the 256 values, one column for all channels or one a channel.
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], max(len(pixels.scale), len(pixels.offset)), axis=1)
    table: AnyArray = pixels.real(values)
    # With scale 1/127.5 every pixel of -1..1 lies half-way between two steps. Ties go up, all of them, so that each
    # pixel keeps a step of its own; rounding to even would merge neighbours.
    table = encode_values(table, spec)
    if table.shape[1] == 1:
        return np.take(table[:, 0], pictures)
    encoded: AnyArray = table[pictures, np.arange(table.shape[1])]
    return encoded


def takes_pixels(spec: TensorSpec, pixels: Pixels) -> bool:
    """Returns whether an input takes the 8-bit pixel as it is: of uint8 the pixel, of int8 the pixel less 128."""
    if spec.dtype not in ("int8", "uint8") or spec.quantization is None:
        return False
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], spec.shape[-1], axis=1)
    steps = values.astype(np.int16) + np.iinfo(spec.dtype).min
    return bool((encode(values, spec, pixels) == steps).all())


def encode_values(values: NDArray[np.float32], spec: TensorSpec) -> AnyArray:
    """Brings real values to a model's input dtype: to the nearest steps, ties up, where it is quantized."""
    if spec.quantization is None:
        return values.astype(spec.dtype)
    scale, zero_point = float(spec.quantization.scale[0]), int(spec.quantization.zero_point[0])
    limits = np.iinfo(spec.dtype)
    steps = np.floor(values.astype(np.float64) / scale + 0.5 + PIXEL_NUDGE) + zero_point
    encoded: AnyArray = np.clip(steps, limits.min, limits.max).astype(spec.dtype)
    return encoded


def encoded(pictures: Iterable[NDArray[np.uint8]], spec: TensorSpec, pixels: Pixels) -> Iterator[AnyArray]:
    """Encodes pictures, uint8 (height, width, channels) each, one after the other: (1, height, width, channels)."""
    for picture in pictures:
        yield encode(picture[None], spec, pixels)


def decode(values: AnyArray, spec: TensorSpec) -> AnyArray:
    """Brings an output to real values (float32); index outputs stay integers."""
    if spec.quantization is None:
        return values
    return spec.quantization.dequantize(values)
