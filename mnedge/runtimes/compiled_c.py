"""The generated C on this machine: compiled by its C compiler, called through ctypes."""

from __future__ import annotations

import ctypes
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge import command
from mnedge.errors import InputError, ToolError
from mnedge.graph.graph import Quantization
from mnedge.runtimes._runtime import Runtime, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COMPILERS = ("cc", "gcc", "clang")
_DTYPES = {"int8_t": "int8", "uint8_t": "uint8", "int32_t": "int32", "int64_t": "int64"}


@dataclass(frozen=True)
class Header:
    """What the header of generated sources says.

    Attributes:
        name: Prefix of all C names.
        arena_bytes: Working memory of a call.
        alignment: Of the arena's first byte.
        input: The input, (1, rows, columns, channels).
        outputs: All outputs, in the order in which they lie behind each other.
    """

    name: str
    arena_bytes: int
    alignment: int
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


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
        outputs = sorted(stem for stem in shapes if stem.startswith("OUTPUT"))
        return Header(
            name,
            int(values["ARENA_BYTES"]),
            int(values["ARENA_ALIGNMENT"]),
            _spec("INPUT", shapes, values, _DTYPES[found[2]]),
            tuple(_spec(stem, shapes, values, _DTYPES[found[3]]) for stem in outputs),
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
            self._run = getattr(ctypes.CDLL(str(library)), f"{header.name}_run")
        self.version = _version() or ""
        self.ops = 1
        self.input, self.outputs = header.input, header.outputs
        self._arena = _aligned(header.arena_bytes, header.alignment)

    def run(self, image: NDArray[Any]) -> list[NDArray[Any]]:
        """Runs one image of the input's shape and dtype; returns copies of all outputs in file order."""
        image = np.ascontiguousarray(image)
        sizes = [int(np.prod(spec.shape)) for spec in self.outputs]
        result = np.empty(sum(sizes), self.outputs[0].dtype)
        status = self._run(*(array.ctypes.data_as(ctypes.c_void_p) for array in (image, result, self._arena)))
        assert status == 0, status
        parts = np.split(result, np.cumsum(sizes)[:-1])
        return [part.reshape(spec.shape).copy() for part, spec in zip(parts, self.outputs, strict=True)]


def _aligned(size: int, alignment: int) -> NDArray[np.uint8]:
    room = np.zeros(size + alignment, np.uint8)
    start = -room.ctypes.data % alignment
    return room[start : start + size]


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
