"""Metric: a figure that a task is scored by. Gates, tolerances, tables and pages derive from what tasks declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The registry of tasks. It is read by name and only when a metric is asked for: results stand below the tasks.
_TASKS = "mnedge.tasks"


@dataclass(frozen=True)
class Metric:
    """A share, 0..1, of which more is better.

    Attributes:
        key: Its name in the JSON of results, in gates and in tolerances.
        name: Its name for people.
        is_headline: Whether gates and tolerances hold it, and the best epoch is chosen by it.
        by_class: Whether it is a figure of each class instead of one of all pictures.
    """

    key: str
    name: str
    is_headline: bool = False
    by_class: bool = False


class Declared(Mapping[str, str]):
    """Names for people by key of all metrics that tasks declare and `chosen` accepts; read each time it is asked."""

    def __init__(self, chosen: Callable[[Metric], bool]) -> None:
        self._chosen = chosen

    def __getitem__(self, key: str) -> str:
        return self._names()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for metric in declared():
            if self._chosen(metric):
                # Two tasks may share a key: it is called as the first one calls it.
                found.setdefault(metric.key, metric.name)
        return found


def declared() -> tuple[Metric, ...]:
    """The metrics of all tasks, those of one task together, its headline first."""
    found: list[Metric] = []
    for name in registry.names(_TASKS):
        found += registry.load(_TASKS, name, "TASK").metrics
    return tuple(found)
