"""Units of work to workers: each worker has its next unit waiting, and a worker that dies costs its units only.

Who does what is decided here and not left to a cluster's own scheduler, because it depends on which machine holds
which pictures: a unit goes to a worker that has its parcels; parcels are sent only if no such unit is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mnedge.errors import ToolError
from mnedge.results.sweep import Answer, Failed

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterator

    from mnedge.workflows.sweep.parcels import Parcel
    from mnedge.workflows.sweep.requests import Request

# One that runs and one that waits, so that no worker idles while its answer travels.
_AHEAD = 2
_ATTEMPTS = 3


@dataclass(frozen=True, eq=False)
class Unit:
    """A unit of work.

    Attributes:
        name: Name in messages.
        ask: Makes the request; only now are the parcels on their way addressed, which may read them.
        parcels: Parcels that the worker's machine must have.
    """

    name: str
    ask: Callable[[], Request]
    parcels: tuple[Parcel, ...] = ()


@dataclass(frozen=True, eq=False)
class Done:
    """A unit that ended.

    Attributes:
        unit: The unit.
        answer: The worker's answer; None if the worker died.
        files: Contents of the files that the answer names, by path; empty if they can be read in place.
    """

    unit: Unit
    answer: Answer | None
    files: dict[str, bytes] = field(default_factory=dict)


class Workers(Protocol):
    """The workers of a sweep."""

    def names(self) -> Collection[str]:
        """The workers that are there now."""
        ...

    def holds(self, worker: str, addresses: Collection[str]) -> Collection[str]:
        """Returns the parcels that a worker's machine has."""
        ...

    def start(self, worker: str, unit: Unit) -> None:
        """Gives a worker a unit and the parcels it lacks; if the worker dies meanwhile, the unit ends as lost."""
        ...

    def finished(self, timeout_s: float) -> list[Done]:
        """The units that ended since the last call, lost ones too; waits for one at most so long."""
        ...


def dispatch(workers: Workers, waiting: deque[Unit], *, patience_s: float = 30.0) -> Iterator[Done]:
    """Distributes units of work.

    Args:
        workers: The workers; they may come and go meanwhile.
        waiting: The units, the most urgent first. Whoever iterates may add to them.
        patience_s: Time to wait for a worker while there is none, seconds.

    Yields:
        Each unit once, as it ends; if its worker died three times, its answer is an error.

    Raises:
        ToolError: There has been no worker for too long.
    """
    import time

    running: dict[str, list[Unit]] = {}
    attempts: dict[Unit, int] = {}
    last_seen = time.monotonic()
    while waiting or any(running.values()):
        alive = list(workers.names())
        last_seen = time.monotonic() if alive else last_seen
        if time.monotonic() - last_seen > patience_s:
            raise ToolError(f"no worker has been there for {patience_s:.0f} s; start some and run the sweep again")
        # Workers with the fewest units first, so that few units are spread over many workers.
        for depth in range(_AHEAD):
            for worker in alive:
                if waiting and len(running.get(worker, [])) == depth:
                    unit = _next(workers, worker, waiting)
                    running.setdefault(worker, []).append(unit)
                    attempts[unit] = attempts.get(unit, 0) + 1
                    workers.start(worker, unit)
        for done in workers.finished(1.0):
            worker = next(name for name, units in running.items() if done.unit in units)
            running[worker].remove(done.unit)
            if done.answer is not None:
                yield done
            elif attempts[done.unit] < _ATTEMPTS:
                waiting.appendleft(done.unit)
            else:
                message = f"{done.unit.name}: its worker died {_ATTEMPTS} times; it may need more memory than there is"
                yield Done(done.unit, Answer(failed=Failed(message, ToolError.__name__)))


def _next(workers: Workers, worker: str, waiting: deque[Unit]) -> Unit:
    """The first unit for which a worker has everything, or the first of all."""
    # A parcel that was never packed has no address, and is nowhere yet.
    wanted = [[parcel.peek() for parcel in unit.parcels] for unit in waiting]
    have = workers.holds(worker, {address for row in wanted for address in row if address is not None})
    for place, addresses in enumerate(wanted):
        if all(address in have for address in addresses):
            unit = waiting[place]
            del waiting[place]
            return unit
    return waiting.popleft()
