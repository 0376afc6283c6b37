"""Workers of a Dask cluster. Dask carries requests and answers, and knows which workers are there."""

from __future__ import annotations

import asyncio
import itertools
import logging
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import cache
from mnedge.errors import InputError, ToolError
from mnedge.results.sweep import Answer, Failed
from mnedge.workflows.sweep import parcels
from mnedge.workflows.sweep.dispatch import Done
from mnedge.workflows.sweep.worker import perform

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from distributed import Client, Future

    from mnedge.workflows.sweep.dispatch import Unit
    from mnedge.workflows.sweep.parcels import Parcel
    from mnedge.workflows.sweep.requests import Request

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
        versions: Mapping[str, str] = client.run(cache.code_sha256)
    except ModuleNotFoundError as exc:
        raise ToolError(f"a worker lacks {exc.name}; install the same mnedge on all of them") from exc
    strange = sorted(worker for worker, code in versions.items() if code != cache.code_sha256())
    if strange:
        raise ToolError(f"another version of mnedge runs on {', '.join(strange)}; install the same on all of them")


def _keep(address: str, data: bytes) -> str:
    parcels.keep(address, data)
    return address


def _perform(request: Request, kept: list[str]) -> tuple[Answer, dict[str, bytes]]:
    """Runs on the worker; the files that the answer names come along, as their paths mean nothing elsewhere."""
    del kept
    answer = perform(request)
    made = answer.built.artifacts if answer.built is not None else ()
    return answer, {file.path: Path(file.path).read_bytes() for file in made if file.path is not None}


class Cluster:
    """The workers of a scheduler.

    Args:
        client: Connected.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._running: dict[Future, tuple[Unit, str]] = {}
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
        """Returns the parcels that a worker's machine has; the machine is asked for each parcel once."""
        have, asked = self._have.setdefault(worker, set()), self._asked.setdefault(worker, set())
        unknown = sorted(set(addresses) - asked)
        if unknown:
            try:
                have.update(self._client.run(parcels.held, unknown, workers=[worker])[worker])
                asked.update(unknown)
            except (OSError, KeyError) as exc:
                # It died meanwhile, which shows when its units are looked for.
                _LOG.info("%s does not say what it has: %s", worker, exc)
        return have

    def start(self, worker: str, unit: Unit) -> None:
        """Sends the parcels that a worker lacks, then the request."""
        number = next(self._numbers)
        have = self.holds(worker, [parcel.address for parcel in unit.parcels])
        kept = [self._send(worker, parcel, number) for parcel in unit.parcels if parcel.address not in have]
        # Pinned: this worker's machine has the parcels.
        future = self._client.submit(
            _perform, unit.ask(), kept, workers=[worker], key=f"mnedge-unit-{number}", pure=False
        )
        self._running[future] = (unit, worker)

    def _send(self, worker: str, parcel: Parcel, number: int) -> Future | str:
        data = parcel.read()
        key = f"mnedge-parcel-{parcel.address[:16]}-{number}"
        try:
            sent = self._client.scatter({key: data}, workers=[worker], timeout=60)[key]
        except (OSError, KeyError, *_TIMEOUTS) as exc:
            # It died meanwhile; the unit is lost with it and goes to another worker.
            _LOG.info("%s takes no parcel: %s", worker, exc)
            return parcel.address
        self.sent.append((worker, parcel.address, len(data)))
        self._have[worker].add(parcel.address)
        return self._client.submit(_keep, parcel.address, sent, workers=[worker], key=f"{key}-kept", pure=False)

    def finished(self, timeout_s: float) -> list[Done]:
        """The units that ended, and those whose worker is gone."""
        from distributed import wait

        if not self._running:
            return []
        try:
            with self._client.as_current():
                wait(list(self._running), timeout=timeout_s, return_when="FIRST_COMPLETED")
        except _TIMEOUTS:
            _LOG.debug("nothing ended within %s s", timeout_s)
        except CancelledError:
            # The scheduler has forgotten a unit whose worker died; its status says so below.
            _LOG.debug("a unit was cancelled")
        alive, found = set(self.names()), []
        for future, (unit, worker) in list(self._running.items()):
            if future.status in ("finished", "error"):
                answer, files = self._result(future)
                found.append(Done(unit, answer, files))
            elif future.status == "pending" and worker in alive:
                continue
            else:
                _LOG.info("%s was lost with %s (%s)", unit.name, worker, future.status)
                future.cancel()
                self._have.pop(worker, None)
                self._asked.pop(worker, None)
                found.append(Done(unit, None))
            del self._running[future]
        return found

    @staticmethod
    def _result(future: Future) -> tuple[Answer | None, dict[str, bytes]]:
        from distributed.scheduler import KilledWorker

        try:
            answer, files = future.result(timeout=60)
        except (OSError, CancelledError, KilledWorker, *_TIMEOUTS) as exc:
            # The worker died between its word and its answer.
            _LOG.info("an answer was lost: %s", exc)
            return None, {}
        except Exception as exc:  # noqa: BLE001 - whatever the worker raised costs its unit alone
            return Answer(failed=Failed(str(exc), type(exc).__name__)), {}
        return answer, files
