"""Emulated boards as devices: generated C is built and run when it is asked for pictures."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge import command, registry, targets
from mnedge.devices._boards import ALIASES, board
from mnedge.devices._device import ModelInfo
from mnedge.devices._emulated import run_inputs
from mnedge.errors import InputError
from mnedge.runtimes.compiled_c import read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mnedge.untyped import AnyArray


@dataclass(frozen=True)
class QemuDevice:
    """An emulated board.

    Attributes:
        name: Its URI, e.g. "qemu://cortex-m4".
        core: The core.
    """

    name: str
    core: str

    @property
    def identity(self) -> str:
        """Its name."""
        return self.name

    @contextmanager
    def load(self, path: Path, runtime: str = "") -> Iterator[_QemuModel]:
        """Takes a folder that `mnedge compile` wrote; it is built when it runs.

        Raises:
            InputError: The folder holds no generated model.
            ToolError: The compiler or the emulator is missing.
        """
        del runtime
        if not path.is_dir():
            raise InputError(
                f"{path} is no folder of C sources, which is what runs on {self.name}; `mnedge compile` it"
            )
        tools = board(self.core).tools
        for program in (tools.emulator, tools.compiler):
            command.find(program, tools.advice)
        yield _QemuModel(path, self.core)

    def interrupt(self) -> None:
        """Nothing to do: a run ends by itself and leaves nothing behind."""


class _QemuModel:
    def __init__(self, directory: Path, core: str) -> None:
        self._header = header = read_header(directory)
        self._directory, self._core = directory, core
        version = f"generated C on {board(core).machine} ({board(core).tools.emulator})"
        first, *others = header.inputs
        self.info = ModelInfo(version, None, first, header.outputs, emulated=True, others=tuple(others))

    def run(self, images: Iterable[AnyArray], count: int) -> Iterator[list[AnyArray]]:
        """Runs all images in one program and gives all raw outputs of each, in order.

        Afterwards the version in `info` also tells the instructions of a call and the deepest stack.
        """
        return self.run_several(((image,) for image in images), count)

    def run_several(self, samples: Iterable[tuple[AnyArray, ...]], count: int) -> Iterator[list[AnyArray]]:
        """The same with a tensor an input."""
        del count
        steps = [np.concatenate([tensor.reshape(-1).view(np.int8) for tensor in sample]) for sample in samples]
        finished = run_inputs(
            self._directory, np.stack(steps), core=self._core, ram_bytes=_typical_ram_bytes(self._core)
        )
        counted = f"{finished.instructions:,} instructions, stack {finished.stack_bytes:,} bytes"
        self.info = replace(self.info, version=f"{self.info.version}, {counted}")
        for row in finished.outputs:
            yield self._header.split(row)


def _typical_ram_bytes(core: str) -> int:
    """Returns the RAM of a target; 0 for an unknown name."""
    return targets.get(core).ram_bytes if core in registry.names("mnedge.targets") else 0


def connect(uri: str) -> QemuDevice:
    """Opens an emulated board; the URI is qemu:// and one of `_boards.BOARDS` or `ALIASES`, e.g. qemu://cortex-m4.

    Raises:
        InputError: No such core.
    """
    core = uri.partition("://")[2]
    board(core)
    return QemuDevice(uri, ALIASES.get(core, core))
