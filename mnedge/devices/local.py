"""This machine: one session per core, pictures computed side by side."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnedge import runtimes
from mnedge.devices._device import ModelInfo
from mnedge.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mnedge.runtimes._session import ChildSession
    from mnedge.untyped import AnyArray

_MOST_IN_GROUP = 16
_MOST_BYTES = 8 << 20


@dataclass(frozen=True)
class LocalDevice:
    """This machine.

    Attributes:
        name: "local".
        identity: "local".
        workers: Sessions side by side, one thread each; 0 for one per core.
        interrupted: Set when nothing more shall be done.
    """

    name: str = "local"
    identity: str = "local"
    workers: int = 0
    interrupted: threading.Event = field(default_factory=threading.Event, compare=False)

    @contextmanager
    def load(self, path: Path, runtime: str = "") -> Iterator[_LocalModel]:
        """Loads an artifact; `runtime` "" takes the one that loads such files.

        Raises:
            ToolError: The runtime is not installed.
            InputError: The runtime refuses the file.
        """
        name = runtime or runtimes.for_file(path)
        model = _LocalModel(
            lambda: runtimes.open_session(name, path, 1), self.workers or os.cpu_count() or 1, self.interrupted
        )
        try:
            yield model
        finally:
            model.close()

    def interrupt(self) -> None:
        """Makes a run in another thread end at its next picture, with a ToolError there."""
        self.interrupted.set()


class _LocalModel:
    def __init__(self, open_session: Callable[[], ChildSession], workers: int, interrupted: threading.Event) -> None:
        first = open_session()
        self.info = ModelInfo(first.version, first.partitions, first.input, first.outputs, others=first.inputs[1:])
        self._open = open_session
        self._workers = workers
        self._interrupted = interrupted
        self._sessions = [first]
        self._spare = [first]
        self._lock = threading.Lock()

    def run(self, images: Iterable[AnyArray], count: int) -> Iterator[list[AnyArray]]:
        """Runs images one by one and gives all raw outputs of each, in order."""
        return self.run_several(((image,) for image in images), count)

    def run_several(self, samples: Iterable[tuple[AnyArray, ...]], count: int) -> Iterator[list[AnyArray]]:
        """Runs samples, a tensor an input in file order, and gives all raw outputs of each, in order."""
        # Enough groups that all workers have work until the end, and none whose outputs take much memory.
        made = sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in self.info.outputs)
        most = max(1, min(_MOST_IN_GROUP, count // (4 * self._workers), _MOST_BYTES // max(made, 1)))
        pending: deque[Future[list[list[AnyArray]]]] = deque()
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                for group in _grouped(samples, most):
                    if self._interrupted.is_set():
                        raise ToolError("local: interrupted")
                    pending.append(pool.submit(self._infer, group))
                    if len(pending) > 2 * self._workers:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def close(self) -> None:
        """Ends the sessions' processes."""
        for session in self._sessions:
            session.close()

    def _infer(self, group: list[tuple[AnyArray, ...]]) -> list[list[AnyArray]]:
        with self._lock:
            session = self._spare.pop() if self._spare else None
        if session is None:
            session = self._open()
            with self._lock:
                self._sessions.append(session)
        outputs = session.run_all(group)
        with self._lock:
            self._spare.append(session)
        return outputs


def _grouped(samples: Iterable[tuple[AnyArray, ...]], most: int) -> Iterator[list[tuple[AnyArray, ...]]]:
    """Samples in groups that go to a process at once: at most so many, and a few MiB."""
    group: list[tuple[AnyArray, ...]] = []
    for sample in samples:
        group.append(sample)
        if len(group) >= most or len(group) * sum(array.nbytes for array in sample) >= _MOST_BYTES:
            yield group
            group = []
    if group:
        yield group


def connect(uri: str) -> LocalDevice:
    """Opens this machine; the URI is `local`."""
    return LocalDevice(uri)
