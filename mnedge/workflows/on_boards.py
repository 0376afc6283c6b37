"""Models on emulated boards: a file is compiled to C for the board's core on its way there."""

from __future__ import annotations

import logging
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import devices, registry, targets
from mnedge.codegen.vectors import noise
from mnedge.devices._emulated import run_inputs
from mnedge.devices.qemu import QemuDevice
from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.formats.tflite_read import read_tflite
from mnedge.results.bench import BoardCost
from mnedge.results.compilation import CSources, slowest_first
from mnedge.results.stored import read
from mnedge.workflows.compile import compile as compile_model
from mnedge.workflows.compile import default_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnedge.devices import Device, DeviceTiming, LoadedModel
    from mnedge.runtimes import TensorSpec


log = logging.getLogger(__name__)
_RUNS_HERE = (".tflite", ".onnx", ".ort")


@dataclass(frozen=True)
class CompilingDevice:
    """An emulated board that takes model files too.

    Attributes:
        board: The board, which runs folders of C.
    """

    board: QemuDevice

    @property
    def name(self) -> str:
        """The board's URI."""
        return self.board.name

    @property
    def identity(self) -> str:
        """That of the board."""
        return self.board.identity

    @contextmanager
    def load(self, path: Path, runtime: str = "") -> Iterator[LoadedModel]:
        """Loads a folder of C, or compiles a model file into one first; see `Device`."""
        with _folder_of(path, self.board) as folder, self.board.load(folder, runtime) as model:
            if path.suffix == ".tflite" and path.is_file():
                # The header numbers its tensors; arrays and reports call them as the file does.
                graph = read_tflite(path)
                first, *others = _named(model.info.inputs, graph.inputs)
                outputs = tuple(_named(model.info.outputs, graph.outputs))
                model.info = replace(model.info, input=first, others=tuple(others), outputs=outputs)
            yield model

    def interrupt(self) -> None:
        """See `Device`."""
        self.board.interrupt()


def _named(specs: Sequence[TensorSpec], names: Sequence[str]) -> list[TensorSpec]:
    return [replace(spec, name=name) for spec, name in zip(specs, names, strict=True)]


def on_board(device: Device) -> Device:
    """A device that takes every file that mnedge compiles: emulated boards compile it, the others stay as they are."""
    return CompilingDevice(device) if isinstance(device, QemuDevice) else device


def runs_here(path: Path) -> bool:
    """Returns whether a runtime of this machine takes the file; a warning says why not.

    A model for microcontrollers alone is one that tflite-micro takes and LiteRT refuses.
    """
    if path.suffix not in _RUNS_HERE:
        return False
    try:
        with devices.get("local").load(path, ""):
            return True
    except (InputError, UnsupportedError) as exc:
        first, *_ = str(exc).splitlines()
        log.warning("%s is not compared with this machine, which refuses it: %.200s", path.name, first)
        return False


def latency_of(device: Device) -> Callable[..., DeviceTiming]:
    """The device's method that measures latency.

    Raises:
        UnsupportedError: It has none.
    """
    measure: Callable[..., DeviceTiming] | None = getattr(device, "latency", None)
    if measure is None:
        raise UnsupportedError(
            f"{device.name} measures no latency; its times mean nothing or it runs no .tflite and .onnx"
        )
    return measure


def target_of(core: str) -> str:
    """The target that C for a core is compiled for: that of its name, or portable C."""
    return core if core in registry.names("mnedge.targets") and targets.get(core).kernels else "generic"


@contextmanager
def _folder_of(path: Path, board: QemuDevice) -> Iterator[Path]:
    """A folder of C as it is, or what a model file compiles to for the board's core."""
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        compile_model(path, folder, target_of(board.core), name=default_name(path), measure=False)
        yield folder


def cost_on_board(path: Path, board: QemuDevice) -> BoardCost:
    """Instructions of a model on an emulated board, by layer; the inputs are noise.

    Args:
        path: An int8 .tflite or QDQ .onnx, or a folder that `compile` wrote.
        board: The board.

    Raises:
        InputError: A folder that holds no compiled model.
        UnsupportedError: An op has no kernel.
        ToolError: A tool is missing, or the program crashed.
    """
    with _folder_of(path, board) as folder:
        compiled = read(folder / "manifest.json", CSources)
        inputs = noise(compiled.input_bytes)
        run = run_inputs(folder, inputs, core=board.core)
        by_layer = run_inputs(folder, inputs, core=board.core, layers=len(compiled.layers)).layers
    if not by_layer:
        raise ToolError("nothing counts instructions here: the counter takes a C compiler; apt-get install gcc")
    layers = [replace(layer, instructions=count) for layer, count in zip(compiled.layers, by_layer, strict=True)]
    return BoardCost(
        artifact=path.name,
        device=board.name,
        emulated=True,
        instructions=run.instructions,
        macs=compiled.macs,
        arena_bytes=compiled.arena_bytes,
        ram_bytes=compiled.ram_bytes,
        stack_bytes=run.stack_bytes,
        layers=tuple(slowest_first(layers)),
    )
