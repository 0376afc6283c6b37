"""What a kind of mutants is: where a mutant is written, how it is made, and the verbs that it goes through."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tests.mutants import changes

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = list[str] | Callable[[], object]

# Of so many mutants one goes through what takes seconds: measurements, real compilers.
_RARELY = 60
_LARGE_BYTES = 64 << 10
_TARGETS = ("generic", "cortex-m4", "cortex-m55", "esp32-s3", "rv32imc")


class Kind(Protocol):
    """Mutants of one kind; it is made of a folder, and of files or folders that mutants start from too."""

    def mutant(self, rng: np.random.Generator, number: int) -> Path | None:
        """Writes a mutant; None where the change makes no file."""

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        """What it goes through: command lines and calls, each by a name that begins with the verb."""

    def clean(self, file: Path) -> None:
        """Removes the mutant, and what verbs made of it."""


def tables() -> Any:  # noqa: ANN401 - a module
    """The mutations of .tflite tables, and the network that they start from, of the test of `check_graph`."""
    path = Path(__file__).parent.parent / "graph" / "test_check_mutants.py"
    spec = importlib.util.spec_from_file_location("test_check_mutants", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _found(sources: list[Path], *suffixes: str) -> list[Path]:
    found = [path for source in sources for path in (sorted(source.rglob("*")) if source.is_dir() else [source])]
    return [path for path in found if path.suffix in suffixes and path.is_file()]


class _Models:
    """Mutants of model files, one after the other in a folder."""

    suffix = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seeds: list[tuple[bytes, Path | None]] = []

    def change(self, data: bytes, rng: np.random.Generator) -> bytes:
        raise NotImplementedError

    def mutant(self, rng: np.random.Generator, number: int) -> Path | None:
        # The first ones are those made here; large ones take long to read, and are rare.
        small = [place for place, (data, _) in enumerate(self.seeds) if len(data) <= _LARGE_BYTES]
        place = changes.one(rng, range(len(self.seeds)) if rng.random() < 0.02 else small)
        if rng.random() < 0.5:
            place = number % 2
        data, self.inputs = self.seeds[place]
        try:
            data = changes.flipped(data, rng) if rng.random() < 0.3 else self.change(data, rng)
        except Exception:  # noqa: BLE001 - values that no table can hold
            return None
        file = self.folder / f"mutant{number}{self.suffix}"
        file.write_bytes(data)
        return file

    def out(self, name: str) -> str:
        place = self.folder / "out"
        place.mkdir(exist_ok=True)
        return str(place / name)

    def clean(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "out", ignore_errors=True)

    def _inputs_of(self, number: int, shapes: dict[str, tuple[int, ...]]) -> Path:
        """Random samples of a model's inputs, as `quantize --data` takes them."""
        path = self.folder / f"inputs{number}.npz"
        rng = np.random.default_rng(number)
        np.savez(
            path, **{name: rng.uniform(-1, 1, (3, *shape[1:])).astype(np.float32) for name, shape in shapes.items()}
        )  # type: ignore[arg-type]
        return path


class Tflite(_Models):
    """Mutants of .tflite files: their tables changed, or bytes."""

    suffix = ".tflite"

    def __init__(self, folder: Path, sources: list[Path]) -> None:
        super().__init__(folder)
        from mnedge.errors import MnedgeError
        from mnedge.formats.tflite_read import parse_tflite
        from mnedge.formats.tflite_write import write_tflite
        from mnedge.silence import start_tensorflow

        start_tensorflow()
        self.tools = os.environ["PATH"]
        self.bare = folder / "bin"
        self.bare.mkdir()
        self._tables = tables()
        made = [write_tflite(self._tables._many_ops(dtype)) for dtype in ("float32", "int8")]  # noqa: SLF001
        for data in (*made, *(path.read_bytes() for path in _found(sources, ".tflite"))):
            try:
                graph = parse_tflite(data, "seed", stateful=True)
                inputs = [graph.tensors[name] for name in graph.inputs]
            except MnedgeError:
                inputs = []
            shapes = {tensor.name: tensor.shape for tensor in inputs}
            self.seeds.append((data, self._inputs_of(len(self.seeds), shapes) if shapes else None))

    def change(self, data: bytes, rng: np.random.Generator) -> bytes:
        return self._tables._mutated(data, rng)  # type: ignore[no-any-return] # noqa: SLF001

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        rarely = number % _RARELY == 7
        # Without compilers on the PATH, C is written and neither built nor run: that is gcc's time, not mnedge's.
        os.environ["PATH"] = self.tools if rarely else str(self.bare)
        target = _TARGETS[number % len(_TARGETS)]
        measure = [] if rarely else ["--no-measure"]
        json = ["--json"] if number % 2 else []
        verbs: dict[str, Work] = {
            "inspect": ["inspect", str(file), *json],
            "optimize": ["optimize", str(file), "-o", self.out("cpu.tflite"), *measure, *json],
            "compile": ["compile", str(file), "--target", target, "--name", "mutant", "-o", self.out("c"), *json],
        }
        if number % 3 == 1:
            verbs["optimize for a microcontroller"] = [
                "optimize", str(file), "-o", self.out("m4.tflite"), "--target", "cortex-m4", "--no-measure", "--int8",
            ]  # fmt: skip
        if self.inputs is not None:
            verbs["quantize"] = [
                "quantize", str(file), "-o", self.out("int8.tflite"), "--data", str(self.inputs), "--effort", "fast",
                *json,
            ]  # fmt: skip
        if number % 10 == 3:
            verbs["doctor"] = ["doctor", str(file), *json]
        return verbs


KINDS: dict[str, Callable[[Path, list[Path]], Kind]] = {"tflite": Tflite}
