"""The generated C on this machine: compiled by its C compiler, called through ctypes."""

from __future__ import annotations

import ctypes
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import command
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.graph.graph import Quantization
from mnedge.runtimes._runtime import Runtime, TensorSpec, timed_ms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray

_COMPILERS = ("cc", "gcc", "clang")
# Bytes before and after each buffer that C writes to or reads; a run must leave them as they are.
_GUARD_BYTES = 64
_PAINT = 0xC5


@dataclass(frozen=True)
class Header:
    """Facts in the header of generated sources.

    Attributes:
        name: Prefix of all C names.
        arena_bytes: Working memory of a call.
        alignment: Alignment of the arena's first byte.
        inputs: All inputs, in the order in which they lie behind each other.
        outputs: All outputs, likewise.
        has_state: Whether NAME_reset must be called before the first run.
    """

    name: str
    arena_bytes: int
    alignment: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    has_state: bool = False

    @property
    def input(self) -> TensorSpec:
        """The only input.

        Raises:
            UnsupportedError: There are several.
        """
        if len(self.inputs) > 1:
            raise UnsupportedError(
                f"{self.name} takes {len(self.inputs)} inputs, and pictures are handed to models with one; call "
                f"{self.name}_run from C, or validate the .tflite"
            )
        return self.inputs[0]

    @property
    def input_dtype(self) -> str:
        """The element type of NAME_run's input: that of all inputs, int8 where they differ."""
        dtypes = {spec.dtype for spec in self.inputs}
        return dtypes.pop() if len(dtypes) == 1 else "int8"

    @property
    def output_dtype(self) -> str:
        """The element type of NAME_run's output: that of all outputs, int8 where they differ."""
        dtypes = {spec.dtype for spec in self.outputs}
        return dtypes.pop() if len(dtypes) == 1 else "int8"

    @property
    def output_bytes(self) -> tuple[int, ...]:
        """Bytes of each output."""
        return tuple(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in self.outputs)

    def split(self, output: AnyArray) -> list[AnyArray]:
        """Copies of the outputs in what NAME_run wrote, each in its own shape and dtype."""
        parts = np.split(output.view(np.int8), np.cumsum(self.output_bytes)[:-1])
        return [
            np.frombuffer(part.tobytes(), spec.dtype).reshape(spec.shape).copy()
            for part, spec in zip(parts, self.outputs, strict=True)
        ]


def read_header(directory: Path) -> Header:
    """Reads the header of a folder that `mnedge compile` wrote.

    Raises:
        InputError: No header there declares NAME_run.
    """
    headers = sorted(directory.glob("*.h"))
    for path in headers:
        text = path.read_text()
        found = re.search(r"int (\w+)_run\(const (\w+) \*input, (\w+) \*output, void \*arena\);", text)
        if found is None:
            continue
        name = found[1]
        values = dict(re.findall(rf"#define {name.upper()}_(\w+) \(?(-?[\d.e+-]+)[fu]?\)?", text))
        shapes = dict(re.findall(rf"#define {name.upper()}_(\w+)_BYTES \d+ /\* ([\dx]+) \*/", text))
        dtypes = dict(re.findall(rf"#define {name.upper()}_(\w+)_ZERO_POINT \(-?\d+\) /\* (\w+) \*/", text))
        inputs, outputs = (
            sorted((stem for stem in shapes if stem.startswith(word)), key=lambda stem: (len(stem), stem))
            for word in ("INPUT", "OUTPUT")
        )
        return Header(
            name,
            int(values["ARENA_BYTES"]),
            int(values["ARENA_ALIGNMENT"]),
            tuple(_spec(stem, shapes, values, dtypes[stem]) for stem in inputs),
            tuple(_spec(stem, shapes, values, dtypes[stem]) for stem in outputs),
            "STATE_BYTES" in values,
        )
    raise InputError(
        f"{directory} holds no generated model: none of its {len(headers)} headers declares NAME_run; "
        "run `mnedge compile` first, without --stream-input"
    )


def _spec(stem: str, shapes: dict[str, str], values: dict[str, str], dtype: str) -> TensorSpec:
    quantization = None
    if f"{stem}_SCALE" in values:
        quantization = Quantization.per_tensor(float(values[f"{stem}_SCALE"]), int(values[f"{stem}_ZERO_POINT"]))
    return TensorSpec(stem.lower(), tuple(int(extent) for extent in shapes[stem].split("x")), dtype, quantization)


class CompiledCSession:
    """Generated C as a shared library of this machine."""

    partitions: int | None = None
    undelegated: tuple[str, ...] = ()

    def __init__(self, path: Path, threads: int) -> None:
        del threads  # generated code is one thread's
        header = read_header(path)
        compiler = _compiler()
        if compiler is None:
            raise ToolError(f"no C compiler for {path}; install one, e.g. apt-get install gcc")
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "model.so"
            source = path / f"{header.name}.c"
            command.run([compiler, "-O2", "-std=c99", "-shared", "-fPIC", source, "-o", library])
            functions = ctypes.CDLL(str(library))
            self._run = getattr(functions, f"{header.name}_run")
            reset = getattr(functions, f"{header.name}_reset") if header.has_state else None
        self.version = _version() or ""
        self.ops = 1
        self.inputs, self.outputs = (header.input,), header.outputs
        self.input = header.input
        self._header = header
        self._guarded = {
            "arena": _Guarded(header.arena_bytes, header.alignment),
            "input": _Guarded(int(np.prod(header.input.shape)) * np.dtype(header.input.dtype).itemsize, 8),
            "output": _Guarded(sum(header.output_bytes), 8),
        }
        if reset is not None:
            status = reset(self._guarded["arena"].data.ctypes.data_as(ctypes.c_void_p))
            assert status == 0, status

    def run(self, *images: AnyArray) -> list[AnyArray]:
        """Runs one image of the input's shape and dtype; returns copies of all outputs in file order.

        Raises:
            ToolError: NAME_run wrote outside the arena, the input or the output.
        """
        (image,) = images
        arena, taken, made = self._guarded.values()
        taken.data[:] = np.ascontiguousarray(image).reshape(-1).view(np.uint8)
        status = self._run(*(place.data.ctypes.data_as(ctypes.c_void_p) for place in (taken, made, arena)))
        assert status == 0, status
        for what, place in self._guarded.items():
            side = place.overrun()
            if side:
                raise ToolError(
                    f"{self._header.name}_run wrote {side} the {what} of {place.data.size:,} bytes; no output of it "
                    "counts: compile the model again, and where that gives the same C, report it"
                )
        return self._header.split(made.data)

    look = run

    def time_ms(self, *images: AnyArray, runs: int, seconds: float = 0.0, copies: bool = True) -> NDArray[np.float64]:
        """Times runs, milliseconds each; see `Session`. Copies, and the look at the guards, always count."""
        del copies
        return timed_ms(lambda: self.run(*images), runs, seconds)


class _Guarded:
    """A buffer between two guards.

    Attributes:
        data: uint8, shape (size,); its first byte is aligned.
    """

    def __init__(self, size: int, alignment: int) -> None:
        room = np.full(size + alignment + 2 * _GUARD_BYTES, _PAINT, np.uint8)
        start = _GUARD_BYTES + -(room.ctypes.data + _GUARD_BYTES) % alignment
        self.data = room[start : start + size]
        self._before, self._after = room[:start], room[start + size :]

    def overrun(self) -> str:
        """Which guard was written to: "before", "after" or "" for none."""
        if (self._before != _PAINT).any():
            return "before"
        return "after" if (self._after != _PAINT).any() else ""


def _compiler() -> str | None:
    return next((path for name in _COMPILERS if (path := shutil.which(name))), None)


@cache
def _version() -> str | None:
    compiler = _compiler()
    if compiler is None:
        return None
    first = command.run([compiler, "--version"], check=False).text.partition("\n")[0]
    return f"generated C ({first})"


RUNTIME = Runtime(suffix="", open=CompiledCSession, version=_version)
