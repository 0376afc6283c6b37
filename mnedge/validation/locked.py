"""`build --locked`: the same tools as when the manifest or the constraints file was written, or no build."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mnedge import __version__, cache
from mnedge.choices import CONSTRAINTS
from mnedge.errors import InputError
from mnedge.foreign import is_file, read_file
from mnedge.results.manifest import LockedTools
from mnedge.results.stored import read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SUFFIX = ".txt"
_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([\w.+!-]+)", re.ASCII)
_MOST_BYTES = 1 << 20


def check_locked(manifest: Path, constraints: Path) -> None:
    """Holds the tools against the manifest of an earlier build; where there is none, against a constraints file.

    Args:
        manifest: manifest.json in the folder of the build.
        constraints: The file of `mnedge lock`.

    Raises:
        InputError: Neither is there, or versions differ.
    """
    if not is_file(manifest) and is_file(constraints):
        check_tools(constraints)
        return
    check_tools(manifest)


def check_tools(path: Path) -> None:
    """Compares installed versions with those of a manifest or of a constraints file.

    Args:
        path: manifest.json of an earlier build, or a .txt of `mnedge lock`.

    Raises:
        InputError: No such file, or versions differ; the message names each and how to install the locked ones.
    """
    if path.suffix == _SUFFIX:
        locked = _pins(path)
        here = {name: found for name in locked if (found := _installed(name)) is not None}
        _check(path, locked, here, f"pip install -c {path} mnedge=={locked.get('mnedge', __version__)}")
        return
    try:
        locked = dict(read(path, LockedTools, follow=False).tools)
    except InputError as exc:
        raise InputError(
            f"--locked: {exc}; build once without --locked, and keep its manifest.json, or write {CONSTRAINTS} with "
            "mnedge lock"
        ) from exc
    _check(path, locked, {"mnedge": __version__, **cache.tool_versions()})


def _check(path: Path, locked: Mapping[str, str], here: Mapping[str, str], get: str = "") -> None:
    differing = sorted(name for name in locked.keys() | here.keys() if locked.get(name) != here.get(name))
    if differing:
        said = "; ".join(f"{name} {locked.get(name, 'absent')}, here {here.get(name, 'absent')}" for name in differing)
        pins = " ".join(f"{name}=={locked[name]}" for name in differing if name in locked)
        raise InputError(f"--locked: {path} was made with {said}. {get or f'pip install {pins}'}")


def _pins(path: Path) -> dict[str, str]:
    try:
        lines = read_file(path, _MOST_BYTES).decode().splitlines()
    except UnicodeDecodeError as exc:
        raise InputError(f"--locked: {path} is no constraints file: {exc}; write one with mnedge lock") from exc
    found = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        pin = _PIN.fullmatch(text)
        if text and pin is None:
            raise InputError(f"--locked: {path} line {number} is no NAME==VERSION; write the file with mnedge lock")
        if pin:
            found[pin[1]] = pin[2]
    if not found:
        raise InputError(f"--locked: {path} pins nothing; write the file with mnedge lock")
    return found


def _installed(name: str) -> str | None:
    if name == "mnedge":
        return __version__
    try:
        return version(name)
    except PackageNotFoundError:
        return None
