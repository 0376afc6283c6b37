"""Tasks: what a network is for. One file a task; everything that differs between tasks hangs on its object."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mnedge import registry
from mnedge.models import heads
from mnedge.models.variant import CLASSIFIER
from mnedge.tasks._task import Task

if TYPE_CHECKING:
    from mnedge.models import Variant

__all__ = ["Task", "get", "names", "of"]


def names() -> list[str]:
    """Names of all tasks."""
    return registry.names(__name__)


def get(name: str) -> Task:
    """The task of a name.

    Raises:
        InputError: No such task; the message names the known ones.
    """
    return cast("Task", registry.load(__name__, name, "TASK"))


def of(variant: Variant) -> Task:
    """The task that a variant's head serves."""
    return get("classify" if variant.head == CLASSIFIER else heads.get(variant.head).task)
