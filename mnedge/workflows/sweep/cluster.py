"""Workers of a Dask cluster. Dask brings tasks to workers and answers back, and tells who is there."""

from __future__ import annotations

import asyncio
import itertools
import logging
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnedge import cache
from mnedge.errors import InputError, ToolError
from mnedge.workflows.sweep import parcels, tasks
from mnedge.workflows.sweep.dispatch import Done

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from distributed import Client, Future

    from mnedge.workflows.sweep.dispatch import Task
    from mnedge.workflows.sweep.parcels import Parcel

_LOG = logging.getLogger(__name__)
_CONNECT_S = 5.0
# One and the same from Python 3.11 on.
_TIMEOUTS = (TimeoutError, asyncio.TimeoutError)


@contextmanager
def connected(scheduler: str) -> Iterator[Cluster]:
    """Connects to a scheduler.

    Args:
        scheduler: Its address, e.g. "tcp://10.0.0.1:8786" or "tls://…".

    Raises:
        InputError: No address.
        ToolError: Dask is not installed, nobody answers, or a worker runs another mnedge.
    """
    if "://" not in scheduler:
        raise InputError(f"--scheduler {scheduler!r} is no address; give e.g. tcp://10.0.0.1:8786")
    try:
        from distributed import Client
    except ImportError as exc:
        raise ToolError("--scheduler needs Dask: pip install 'mnedge[dask]'") from exc
    # Its own words on a failed connection are a page long; the error below says it in a line.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, *_TIMEOUTS) as exc:
        raise ToolError(
            f"no Dask scheduler answers at {scheduler} within {_CONNECT_S:.0f} s; start one with `dask scheduler` and "
            f"workers with `dask worker {scheduler} --nthreads 1`"
        ) from exc
    except ValueError as exc:
        raise InputError(f"--scheduler {scheduler!r} is no address ({exc}); give e.g. tcp://10.0.0.1:8786") from exc
    try:
        _check_same_code(client)
        yield Cluster(client)
    finally:
        client.close(timeout=_CONNECT_S)


def _check_same_code(client: Client) -> None:
    try:
        told: Mapping[str, str] = client.run(cache.code_sha256)
    except ModuleNotFoundError as exc:
        raise ToolError(f"a worker lacks {exc.name}; install the same mnedge on all of them") from exc
    strange = sorted(worker for worker, code in told.items() if code != cache.code_sha256())
    if strange:
        raise ToolError(f"another version of mnedge runs on {', '.join(strange)}; install the same on all of them")


def _keep(address: str, data: bytes) -> str:
    parcels.keep(address, data)
    return address


def _perform(request: dict[str, Any], kept: list[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Runs on the worker; the files that the answer names come along, as their paths mean nothing elsewhere."""
    del kept
    answer = tasks.perform(request)
    files = {row["path"]: Path(row["path"]).read_bytes() for row in answer.get("artifacts", [])}
    return answer, files


class Cluster:
    """The workers of a scheduler.

    Args:
        client: Connected.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._running: dict[Future, tuple[Task, str]] = {}
        self._have: dict[str, set[str]] = {}
        self._asked: dict[str, set[str]] = {}
        self._numbers = itertools.count()
        # Worker, address and bytes of every parcel that was sent.
        self.sent: list[tuple[str, str, int]] = []

    def names(self) -> Collection[str]:
        """Addresses of the workers that are there now."""
        found: Mapping[str, int] = self._client.nthreads()
        return list(found)

    def holds(self, worker: str, addresses: Collection[str]) -> Collection[str]:
        """Which of some parcels a worker's machine has; it is asked for each of them once."""
        have, asked = self._have.setdefault(worker, set()), self._asked.setdefault(worker, set())
        unknown = sorted(set(addresses) - asked)
        if unknown:
            try:
                have.update(self._client.run(parcels.held, unknown, workers=[worker])[worker])
                asked.update(unknown)
            except (OSError, KeyError) as exc:
                # It died meanwhile, which shows when its tasks are looked for.
                _LOG.info("%s does not say what it has: %s", worker, exc)
        return have

    def start(self, worker: str, task: Task) -> None:
        """Sends what a worker lacks, then the task."""
        number = next(self._numbers)
        have = self.holds(worker, [parcel.address for parcel in task.parcels])
        kept = [self._send(worker, parcel, number) for parcel in task.parcels if parcel.address not in have]
        # Pinned: this worker's machine has the parcels.
        future = self._client.submit(
            _perform, task.addressed(), kept, workers=[worker], key=f"mnedge-task-{number}", pure=False
        )
        self._running[future] = (task, worker)

    def _send(self, worker: str, parcel: Parcel, number: int) -> Any:  # noqa: ANN401 - a future, or an address
        data = parcel.read()
        key = f"mnedge-parcel-{parcel.address[:16]}-{number}"
        try:
            sent = self._client.scatter({key: data}, workers=[worker], timeout=60)[key]
        except (OSError, KeyError, *_TIMEOUTS) as exc:
            # It died meanwhile; the task is lost with it and goes to another one.
            _LOG.info("%s takes no parcel: %s", worker, exc)
            return parcel.address
        self.sent.append((worker, parcel.address, len(data)))
        self._have[worker].add(parcel.address)
        return self._client.submit(_keep, parcel.address, sent, workers=[worker], key=f"{key}-kept", pure=False)

    def finished(self, timeout_s: float) -> list[Done]:
        """The tasks that ended, and those whose worker is gone."""
        from distributed import wait

        if not self._running:
            return []
        try:
            with self._client.as_current():
                wait(list(self._running), timeout=timeout_s, return_when="FIRST_COMPLETED")
        except _TIMEOUTS:
            _LOG.debug("nothing ended within %s s", timeout_s)
        except CancelledError:
            # The scheduler has forgotten a task whose worker died; its status says so below.
            _LOG.debug("a task was cancelled")
        alive, found = set(self.names()), []
        for future, (task, worker) in list(self._running.items()):
            if future.status in ("finished", "error"):
                answer, files = self._result(future)
                found.append(Done(task, answer, files))
            elif future.status == "pending" and worker in alive:
                continue
            else:
                _LOG.info("%s was lost with %s (%s)", task.name, worker, future.status)
                future.cancel()
                self._have.pop(worker, None)
                self._asked.pop(worker, None)
                found.append(Done(task, None))
            del self._running[future]
        return found

    @staticmethod
    def _result(future: Future) -> tuple[dict[str, Any] | None, dict[str, bytes]]:
        from distributed.scheduler import KilledWorker

        try:
            answer, files = future.result(timeout=60)
        except (OSError, CancelledError, KilledWorker, *_TIMEOUTS) as exc:
            # The worker died between its word and its answer.
            _LOG.info("an answer was lost: %s", exc)
            return None, {}
        except Exception as exc:  # noqa: BLE001 - whatever the worker raised costs its task alone
            return {"error": str(exc), "kind": type(exc).__name__}, {}
        return answer, files
