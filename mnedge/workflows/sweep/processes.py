"""Workers on this machine: processes that share its cores, each its own part of them."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mnedge import command
from mnedge.errors import InputError
from mnedge.results.stored import from_json, to_line
from mnedge.results.sweep import Answer
from mnedge.workflows.sweep.dispatch import Done

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection, Iterator

    from mnedge.workflows.sweep.dispatch import Unit

_LOG = logging.getLogger(__name__)
# A worker in a long call of a native library hears of its end only after it.
_GRACE_S = 5.0


@contextmanager
def started(count: int, cores: int) -> Iterator[Processes]:
    """Starts so many processes, which end with the block, whatever they are at.

    Args:
        count: Number of processes.
        cores: Cores that they share.
    """
    processes = Processes(count, cores)
    try:
        yield processes
    finally:
        processes.close()


class Processes:
    """So many processes; one that dies is started again.

    Args:
        count: Number of processes.
        cores: Cores that they share.
    """

    def __init__(self, count: int, cores: int) -> None:
        self._threads = max(1, cores // count)
        self._closing = False
        self._ended: queue.Queue[tuple[str, Done]] = queue.Queue()
        self._alive = {f"process {number}": self._started() for number in range(count)}
        self._given: dict[str, queue.Queue[Unit | None]] = {}
        self._threads_of: list[threading.Thread] = []
        for name in self._alive:
            self._given[name] = queue.Queue()
            thread = threading.Thread(target=self._serve, args=(name,), daemon=True)
            thread.start()
            self._threads_of.append(thread)

    def close(self) -> None:
        """Ends all processes, whatever they are at; they have a moment to remove their temporary files."""
        self._closing = True
        for given in self._given.values():
            given.put(None)
        command.end_gently(list(self._alive.values()), _GRACE_S)
        for thread in self._threads_of:
            thread.join(5.0)
        for process in self._alive.values():
            command.kill(process)

    def names(self) -> list[str]:
        """All of them: one that died is replaced."""
        return list(self._alive)

    def holds(self, worker: str, addresses: Collection[str]) -> Collection[str]:
        """All: files are read where they are."""
        del worker
        return addresses

    def start(self, worker: str, unit: Unit) -> None:
        """Gives a process a unit of work."""
        self._given[worker].put(unit)

    def finished(self, timeout_s: float) -> list[Done]:
        """The units that ended since the last call."""
        found = []
        try:
            found.append(self._ended.get(timeout=timeout_s)[1])
            while True:
                found.append(self._ended.get_nowait()[1])
        except queue.Empty:
            return found

    def pids(self) -> dict[str, int]:
        """The process of each worker."""
        return {name: process.pid for name, process in self._alive.items()}

    def _started(self) -> subprocess.Popen[bytes]:
        shares = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), str(self._threads))
        process = command.start([sys.executable, "-m", "mnedge.workflows.sweep.worker"], env=shares)
        # A pipe that nobody reads would fill up and stop the process.
        threading.Thread(target=_drain, args=(process,), daemon=True).start()
        return process

    def _serve(self, name: str) -> None:
        while (unit := self._given[name].get()) is not None:
            process = self._alive[name]
            answer = None
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(to_line(unit.ask()).encode())
                process.stdin.flush()
                line = process.stdout.readline()
                answer = from_json(line, Answer, "a worker's answer") if line.endswith(b"\n") else None
            except (OSError, ValueError, InputError):
                answer = None
            if answer is None:
                if self._closing:
                    return
                command.kill(process)
                self._alive[name] = self._started()
            self._ended.put((name, Done(unit, answer)))


def _drain(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr is not None
    try:
        for line in process.stderr:
            _LOG.info("%s", line.decode(errors="replace").rstrip())
    except ValueError:
        # Closed while it was read: the process is gone.
        return


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
