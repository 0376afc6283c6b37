"""Heads that stand on a backbone instead of its classifier: one file a head, its name is the file's."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mnedge import registry

if TYPE_CHECKING:
    from mnedge.models.heads._head import Head


def names() -> list[str]:
    """Names of all heads, as users write them."""
    return registry.names(__name__)


def get(name: str) -> Head:
    """The head of a name.

    Raises:
        InputError: No such head; the message names the known ones.
    """
    return cast("Head", registry.load(__name__, name, "HEAD"))
