"""Families of networks: one file a generation, with its tables of rows, its Keras builder and its `FAMILIES`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from mnedge import registry
from mnedge.errors import InputError, UnsupportedError
from mnedge.models.families._family import Family, Imagenet, Published

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Family", "Imagenet", "Published", "by_name", "get", "names"]


@cache
def by_name() -> Mapping[str, Family]:
    """Families by the token of the command line, in the order of the files and of their `FAMILIES`.

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
    if name not in by_name() and name in (refused := _refused()):
        raise UnsupportedError(f"{name} cannot be built: {refused[name]}")
    if name not in by_name():
        raise InputError.unknown("variant", name, by_name())
    return by_name()[name]


@cache
def _refused() -> Mapping[str, str]:
    """Published networks that cannot be built, with the reason; a file that knows of some has a `REFUSED`."""
    found: dict[str, str] = {}
    for name in registry.names(__name__):
        found |= getattr(import_module(f"{__name__}.{name.replace('-', '_')}"), "REFUSED", {})
    return MappingProxyType(found)
