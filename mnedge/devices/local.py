"""This machine: one session per core, pictures computed side by side."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnedge import runtimes
from mnedge.devices._device import ModelInfo
from mnedge.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mnedge.runtimes import Session
    from mnedge.untyped import AnyArray


@dataclass(frozen=True)
class LocalDevice:
    """This machine.

    Attributes:
        name: "local".
        workers: Sessions side by side, one thread each; 0 for one per core.
        interrupted: Set when nothing more shall be done.
    """

    name: str = "local"
    workers: int = 0
    interrupted: threading.Event = field(default_factory=threading.Event, compare=False)

    @contextmanager
    def load(self, path: Path, runtime: str = "") -> Iterator[_LocalModel]:
        """Loads an artifact; `runtime` "" takes the one that loads such files.

        Raises:
            ToolError: The runtime is not installed.
            InputError: The runtime refuses the file.
        """
        engine = runtimes.get(runtime or runtimes.for_file(path))
        yield _LocalModel(lambda: engine.open(path, 1), self.workers or os.cpu_count() or 1, self.interrupted)

    def interrupt(self) -> None:
        """Makes a run in another thread end at its next picture, with a ToolError there."""
        self.interrupted.set()


class _LocalModel:
    def __init__(self, open_session: Callable[[], Session], workers: int, interrupted: threading.Event) -> None:
        first = open_session()
        self.info = ModelInfo(first.version, first.partitions, first.input, first.outputs, others=first.inputs[1:])
        self._open = open_session
        self._workers = workers
        self._interrupted = interrupted
        self._spare = [first]
        self._lock = threading.Lock()

    def run(self, images: Iterable[AnyArray], count: int) -> Iterator[list[AnyArray]]:
        """Runs images one by one and gives all raw outputs of each, in order."""
        return self.run_several(((image,) for image in images), count)

    def run_several(self, samples: Iterable[tuple[AnyArray, ...]], count: int) -> Iterator[list[AnyArray]]:
        """Runs samples, a tensor an input in file order, and gives all raw outputs of each, in order."""
        del count
        own = threading.local()

        def infer(sample: tuple[AnyArray, ...]) -> list[AnyArray]:
            if not hasattr(own, "session"):
                with self._lock:
                    taken = self._spare.pop() if self._spare else None
                own.session = taken if taken is not None else self._open()
            session: Session = own.session
            return session.run(*sample)

        pending: deque[Future[list[AnyArray]]] = deque()
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                for sample in samples:
                    if self._interrupted.is_set():
                        raise ToolError("local: interrupted")
                    pending.append(pool.submit(infer, sample))
                    if len(pending) > 4 * self._workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


def connect(uri: str) -> LocalDevice:
    """Opens this machine; the URI is `local`."""
    return LocalDevice(uri)
