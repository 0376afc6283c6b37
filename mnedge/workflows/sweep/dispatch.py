"""Tasks to workers: each worker has the next one waiting, and a worker that dies costs its tasks only.

Who does what is decided here and not left to a cluster's own scheduler, because it depends on which machine holds
which pictures: a task goes to a worker that has its parcels, and only where none is left to do, parcels are sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mnedge.errors import ToolError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Collection, Iterator

    from mnedge.workflows.sweep.parcels import Parcel

# One that runs and one that waits, so that no worker idles while its answer travels.
_AHEAD = 2
_ATTEMPTS = 3


@dataclass(frozen=True, eq=False)
class Task:
    """Something to do.

    Attributes:
        name: For messages.
        request: As `tasks.perform` takes it; {"needs": n, …} stands for the place of the n-th parcel.
        parcels: What its worker must have.
        about: What the caller wants to find again beside the answer.
    """

    name: str
    request: dict[str, Any]
    parcels: tuple[Parcel, ...] = ()
    about: Any = None

    def addressed(self) -> dict[str, Any]:
        """The request with the parcels' addresses, for a worker on another machine."""

        def place(value: Any) -> Any:  # noqa: ANN401 - any JSON value
            if not isinstance(value, dict) or "needs" not in value:
                return value
            kept = {name: entry for name, entry in value.items() if name != "needs"}
            return {"parcel": self.parcels[value["needs"]].address, **kept}

        return {name: place(value) for name, value in self.request.items()}


@dataclass(frozen=True, eq=False)
class Done:
    """A task that ended.

    Attributes:
        task: Which.
        answer: As `tasks.perform` gives it; None where its worker died.
        files: Contents of the files that the answer names, by path; empty where they can be read in place.
    """

    task: Task
    answer: dict[str, Any] | None
    files: dict[str, bytes] = field(default_factory=dict)


class Workers(Protocol):
    """Where tasks are done."""

    def names(self) -> Collection[str]:
        """The workers that are there now."""
        ...

    def holds(self, worker: str, addresses: Collection[str]) -> Collection[str]:
        """Which of some parcels a worker's machine has."""
        ...

    def start(self, worker: str, task: Task) -> None:
        """Gives a worker a task, and what it lacks for it; a worker that dies meanwhile ends the task as lost."""
        ...

    def finished(self, timeout_s: float) -> list[Done]:
        """The tasks that ended since the last call, lost ones too; waits for one at most so long."""
        ...


def dispatch(workers: Workers, waiting: deque[Task], *, patience_s: float = 30.0) -> Iterator[Done]:
    """Has tasks done.

    Args:
        workers: Who does them; they may come and go meanwhile.
        waiting: The tasks, the most urgent first. Whoever iterates may add to them.
        patience_s: How long to wait for a worker where there is none.

    Yields:
        Each task once, as it ends; one whose worker died three times comes with an error as its answer.

    Raises:
        ToolError: There has been no worker for too long.
    """
    import time

    running: dict[str, list[Task]] = {}
    attempts: dict[Task, int] = {}
    last_seen = time.monotonic()
    while waiting or any(running.values()):
        alive = list(workers.names())
        last_seen = time.monotonic() if alive else last_seen
        if time.monotonic() - last_seen > patience_s:
            raise ToolError(f"no worker has been there for {patience_s:.0f} s; start some and run the sweep again")
        # Workers with the fewest tasks first, so that few tasks are spread over many workers.
        for depth in range(_AHEAD):
            for worker in alive:
                if waiting and len(running.get(worker, [])) == depth:
                    task = _next(workers, worker, waiting)
                    running.setdefault(worker, []).append(task)
                    attempts[task] = attempts.get(task, 0) + 1
                    workers.start(worker, task)
        for done in workers.finished(1.0):
            worker = next(name for name, tasks in running.items() if done.task in tasks)
            running[worker].remove(done.task)
            if done.answer is not None:
                yield done
            elif attempts[done.task] < _ATTEMPTS:
                waiting.appendleft(done.task)
            else:
                told = f"{done.task.name}: its worker died {_ATTEMPTS} times; it may need more memory than there is"
                yield Done(done.task, {"error": told, "kind": "ToolError"})


def _next(workers: Workers, worker: str, waiting: deque[Task]) -> Task:
    """The first task for which a worker has everything, or the first of all."""
    # What was never packed is nowhere yet.
    wanted = [[parcel.peek() for parcel in task.parcels] for task in waiting]
    have = workers.holds(worker, {address for row in wanted for address in row if address is not None})
    for place, addresses in enumerate(wanted):
        if all(address in have for address in addresses):
            task = waiting[place]
            del waiting[place]
            return task
    return waiting.popleft()
