"""What a kind of mutants is: where a mutant is written, how it is made, and the verbs that it goes through."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import tempfile
import zipfile
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tests.mutants import changes, texts
from tests.mutants.loaded import loaded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
        values = {name: rng.uniform(-1, 1, (3, *shape[1:])).astype(np.float32) for name, shape in shapes.items()}
        np.savez(path, **values)  # type: ignore[arg-type] # no array is called allow_pickle
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
        self._tables = loaded("graph/test_check_mutants.py")
        made = [write_tflite(self._tables._many_ops(dtype)) for dtype in ("float32", "int8")]
        for data in (*made, *(path.read_bytes() for path in _found(sources, ".tflite"))):
            try:
                graph = parse_tflite(data, "seed", stateful=True)
                inputs = [graph.tensors[name] for name in graph.inputs]
            except MnedgeError:
                inputs = []
            shapes = {tensor.name: tensor.shape for tensor in inputs}
            self.seeds.append((data, self._inputs_of(len(self.seeds), shapes) if shapes else None))

    def change(self, data: bytes, rng: np.random.Generator) -> bytes:
        return self._tables._mutated(data, rng)

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


class Onnx(_Models):
    """Mutants of .onnx files."""

    suffix = ".onnx"

    def __init__(self, folder: Path, sources: list[Path]) -> None:
        super().__init__(folder)
        from mnedge.formats.onnx_write import write_onnx
        from mnedge.silence import start_tensorflow

        start_tensorflow()
        many = loaded("graph/test_check_mutants.py")._many_ops
        for data in (
            *(write_onnx(many(dtype)) for dtype in ("float32", "int8")),
            *(path.read_bytes() for path in _found(sources, ".onnx")),
        ):
            self.seeds.append((data, self._inputs_of(len(self.seeds), {"image": (1, 6, 6, 4)})))

    def change(self, data: bytes, rng: np.random.Generator) -> bytes:
        return changes.damaged_onnx(data, rng)

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        target = _TARGETS[number % len(_TARGETS)]
        json_ = ["--json"] if number % 2 else []
        os.environ["PATH"] = "" if number % _RARELY != 7 else os.defpath
        verbs: dict[str, Work] = {
            "inspect": ["inspect", str(file), *json_],
            "optimize": ["optimize", str(file), "-o", self.out("x.tflite"), *json_],
            "compile": ["compile", str(file), "--target", target, "--name", "mutant", "-o", self.out("c"), *json_],
            "quantize": [
                "quantize", str(file), "-o", self.out("int8.tflite"), "--data", str(self.inputs), "--effort", "fast",
                *json_,
            ],
            "bench": ["bench", str(file), "--seconds", "0.01", *json_],
        }  # fmt: skip
        if number % 10 == 3:
            verbs["doctor"] = ["doctor", str(file), *json_]
        if number % 20 == 6:
            verbs["optimize to .ort"] = ["optimize", str(file), "-o", self.out("x.ort")]
        return verbs


class Keras(_Models):
    """Mutants of .keras and .h5 files: their configuration, their weights, their archive."""

    def __init__(self, folder: Path, sources: list[Path]) -> None:
        super().__init__(folder)
        del sources
        from mnedge.silence import start_tensorflow

        start_tensorflow()
        import keras

        layers = keras.layers
        kernel = layers.Input((8, 8, 3))
        deep = layers.DepthwiseConv2D(3, padding="same")(
            layers.Conv2D(3, 3, padding="same", activation="relu6")(kernel)
        )
        joined = layers.Add()([kernel, layers.ReLU(6.0)(layers.BatchNormalization()(deep))])
        scores = layers.Dense(3, activation="softmax")(layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(joined)))
        self.models = [
            keras.Sequential([
                keras.Input((8, 8, 3)), layers.Rescaling(1 / 127.5, offset=-1.0),
                layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(),
                layers.DepthwiseConv2D(3), layers.Flatten(), layers.Dense(3),
            ]),
            keras.Model(kernel, scores),
        ]  # fmt: skip
        self.inputs = self._inputs_of(0, {"image": (1, 8, 8, 3)})
        with np.load(self.inputs) as found:
            self.inputs = folder / "inputs.npy"
            np.save(self.inputs, found["image"])
        self.whole = []
        for model in self.models:
            paths = [folder / "m.keras", folder / "m.h5"]
            for path in paths:
                model.save(path)
            self.whole.append([path.read_bytes() for path in paths])

    def mutant(self, rng: np.random.Generator, number: int) -> Path | None:
        import h5py

        archive, older = self.whole[number % 2]
        file = self.folder / f"mutant{number}{'.h5' if number % 3 == 2 else '.keras'}"
        if file.suffix == ".h5":
            file.write_bytes(older if rng.random() < 0.6 else changes.flipped(older, rng))
            with contextlib.suppress(Exception), h5py.File(file, "r+") as opened:
                opened.attrs["model_config"] = changes.damaged_json(opened.attrs["model_config"].encode(), rng)
            return file
        if rng.random() < 0.2:
            file.write_bytes(changes.flipped(archive, rng))
            return file
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            members = {name: opened.read(name) for name in opened.namelist()}
        if rng.random() < 0.75:
            members["config.json"] = changes.damaged_json(members["config.json"], rng)
        elif rng.random() < 0.8:
            members["model.weights.h5"] = changes.flipped(members["model.weights.h5"], rng)
        else:
            members["metadata.json"] = changes.damaged_json(members["metadata.json"], rng)
        with zipfile.ZipFile(file, "w") as made:
            for name, data in members.items():
                made.writestr(name, data)
        return file

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        json_ = ["--json"] if number % 2 else []
        verbs: dict[str, Work] = {
            "quantize": [
                "quantize", str(file), "-o", self.out("int8.tflite"), "--data", str(self.inputs), "--effort", "fast",
                *json_,
            ],
        }  # fmt: skip
        if number % 10 == 3:
            verbs["doctor"] = ["doctor", str(file), *json_]
        if number % 10 == 6:
            verbs["inspect"] = ["inspect", str(file), *json_]
        return verbs


class Faulty:
    """No mutants: verbs that are faults themselves, which the campaign must see."""

    def __init__(self, folder: Path, sources: list[Path]) -> None:
        del sources
        self.folder = folder

    def mutant(self, rng: np.random.Generator, number: int) -> Path:
        del rng
        return self.folder / str(number)

    def verbs(self, file: Path, number: int) -> dict[str, Work]:
        del file, number

        def raises() -> None:
            raise IndexError("no MnedgeError")

        return {
            "passes": ["targets", "--json"],
            "raises": raises,
            "eats": lambda: np.ones(3 << 30, np.uint8),
            "leaves": tempfile.mkstemp,
            "dies": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        }

    def clean(self, file: Path) -> None:
        del file


KINDS: dict[str, Callable[[Path, list[Path]], Kind]] = {
    "tflite": Tflite,
    "onnx": Onnx,
    "keras": Keras,
    "csv": texts.Csv,
    "coco": texts.Coco,
    "voc": texts.Voc,
    "recipe": texts.Recipe,
    "dataset": texts.Settings,
    "calibration": texts.Calibration,
    "manifest": texts.Manifest,
    "report": texts.Report,
    "cache": texts.Cache,
    "picture": texts.Picture,
    "faulty": Faulty,
}
