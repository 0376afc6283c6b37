"""Tasks: what a network is for. One file a task; everything that differs between tasks hangs on its object."""

from __future__ import annotations

from typing import cast

from mnedge import registry
from mnedge.tasks._task import Task

__all__ = ["Task", "every", "get", "names"]


def names() -> list[str]:
    """Names of all tasks."""
    return registry.names(__name__)


def get(name: str) -> Task:
    """The task of a name.

    Raises:
        InputError: No such task; the message names the known ones.
    """
    return cast("Task", registry.load(__name__, name, "TASK"))


def every() -> tuple[Task, ...]:
    """All tasks, by name."""
    return tuple(map(get, names()))
