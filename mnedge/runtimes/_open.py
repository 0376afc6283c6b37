"""Opening of runtimes: by name or by file, and always in a child process."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mnedge import registry
from mnedge.errors import InputError
from mnedge.foreign import is_folder
from mnedge.runtimes._session import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.runtimes._runtime import Runtime


def get(name: str) -> Runtime:
    """Looks a runtime up by the name of its file; it opens models in a child process.

    Raises:
        InputError: No such runtime; the message names the known ones.
    """
    runtime: Runtime = registry.load("mnedge.runtimes", name, "RUNTIME")
    return replace(runtime, open=partial(open_session, name))


def for_file(path: Path) -> str:
    """Name of the runtime that loads a file, by suffix, or a folder of C sources.

    Raises:
        InputError: No runtime loads such a file.
    """
    defaults = {name: get(name) for name in registry.names("mnedge.runtimes") if get(name).is_default}
    suffixes = {suffix: name for name, runtime in defaults.items() for suffix in (runtime.suffix, *runtime.also)}
    suffix = "" if is_folder(path) else path.suffix or "a file without suffix"
    if suffix not in suffixes:
        known = ", ".join(known or "a folder of C sources" for known in suffixes)
        raise InputError(f"{path}: no runtime loads {suffix}; known: {known}")
    return suffixes[suffix]
