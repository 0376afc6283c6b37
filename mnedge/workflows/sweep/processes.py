"""Workers on this machine: processes that share its cores, each with a thread of an executor that talks to it.

The processes are programs of `command`, not children of `multiprocessing`, for three reasons. A spawned child imports
the caller's `__main__`, so a script or notebook without a guard would start its sweep again in every worker. An
executor of processes gives up all units that wait when one process dies. And its workers are only ever killed, so a
build in one of them would leave its temporary folder behind.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
    """Processes of this machine; one that dies is started again.

    Args:
        count: Number of processes.
        cores: Cores that they share.
    """

    def __init__(self, count: int, cores: int) -> None:
        self._threads = max(1, cores // count)
        self._closing = False
        self._alive = {f"process {number}": self._started() for number in range(count)}
        self._lanes = {name: ThreadPoolExecutor(1) for name in self._alive}
        self._running: dict[Future[Answer | None], Unit] = {}

    def close(self) -> None:
        """Ends all processes, whatever they are at; they have a moment to remove their temporary files."""
        self._closing = True
        for lane in self._lanes.values():
            lane.shutdown(wait=False, cancel_futures=True)
        command.end_gently(list(self._alive.values()), _GRACE_S)
        # Each reads the end of its process' output now.
        for lane in self._lanes.values():
            lane.shutdown()
        for process in self._alive.values():
            command.kill(process)

    def names(self) -> list[str]:
        """Names of the processes; one that died is replaced."""
        return list(self._alive)

    def holds(self, worker: str, addresses: Collection[str]) -> Collection[str]:
        """All: files are read where they are."""
        del worker
        return addresses

    def start(self, worker: str, unit: Unit) -> None:
        """Gives a process a unit of work."""
        self._running[self._lanes[worker].submit(self._answer, worker, unit)] = unit

    def finished(self, timeout_s: float) -> list[Done]:
        """The units that ended since the last call."""
        ended, _ = wait(self._running, timeout_s, FIRST_COMPLETED)
        return [Done(self._running.pop(future), future.result()) for future in ended]

    def pids(self) -> dict[str, int]:
        """The process of each worker."""
        return {name: process.pid for name, process in self._alive.items()}

    def _started(self) -> subprocess.Popen[bytes]:
        shares = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), str(self._threads))
        process = command.start([sys.executable, "-m", "mnedge.workflows.sweep.worker"], env=shares)
        # A pipe that nobody reads would fill up and stop the process.
        threading.Thread(target=_drain, args=(process,), daemon=True).start()
        return process

    def _answer(self, worker: str, unit: Unit) -> Answer | None:
        """Asks a process and waits for its answer; None if the process died, which is then started again."""
        process = self._alive[worker]
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(to_line(unit.ask()).encode())
            process.stdin.flush()
            line = process.stdout.readline()
            if line.endswith(b"\n"):
                return from_json(line, Answer, "a worker's answer")
        except (OSError, ValueError, InputError) as exc:
            _LOG.info("%s gave no answer: %s", worker, exc)
        if not self._closing:
            command.kill(process)
            self._alive[worker] = self._started()
        return None


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
