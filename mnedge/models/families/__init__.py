"""Families of networks: one file a generation, with its tables of rows, its Keras builder and its `FAMILIES`."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from mnedge import registry
from mnedge.errors import InputError
from mnedge.models.families._family import Family, Imagenet, Published

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Family", "Imagenet", "Published", "by_name", "get", "names"]


@cache
def by_name() -> Mapping[str, Family]:
    """All families by the token of the command line, in the order of the files and of their `FAMILIES`.

    Raises:
        ValueError: Two files define the same token.
    """
    found: dict[str, Family] = {}
    for name in registry.names(__name__):
        families: tuple[Family, ...] = registry.load(__name__, name, "FAMILIES")
        for family in families:
            if family.name in found:
                raise ValueError(f"two families are called {family.name!r}; the second one is in {name}")
            found[family.name] = family
    return MappingProxyType(found)


def names() -> tuple[str, ...]:
    """Tokens of all families, as users write them."""
    return tuple(by_name())


def get(name: str) -> Family:
    """The family of a token.

    Raises:
        InputError: No such family; the message names the known ones.
    """
    if name not in by_name():
        raise InputError.unknown("variant", name, by_name())
    return by_name()[name]
