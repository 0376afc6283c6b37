"""Folders as registries: the file name is the name, the file holds one agreed object.

Nothing is imported until it is asked for, and two entries of one name cannot exist.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from mnedge.errors import InputError


def names(package: str) -> list[str]:
    """Lists the entries of `package` (a dotted name) as users write them, without importing them.

    Files that start with an underscore are not entries; underscores in a file name are dashes in the name.
    """
    spec = find_spec(package)
    assert spec is not None, package
    assert spec.submodule_search_locations is not None, package
    found = (module.name for module in iter_modules(spec.submodule_search_locations))
    return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))


def load(package: str, name: str, attribute: str) -> Any:  # noqa: ANN401 - each package's get() restores the type
    """Imports the entry `name` of `package` and returns its `attribute`.

    Raises:
        InputError: No such entry; the message names the known ones.
    """
    known = names(package)
    if name not in known:
        raise InputError.unknown(package.rpartition(".")[2].rstrip("s"), name, known)
    return getattr(import_module(f"{package}.{name.replace('-', '_')}"), attribute)
