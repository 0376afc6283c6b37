"""`build --locked`: the same tools as when the manifest was written, or no build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge import __version__, cache
from mnedge.errors import InputError
from mnedge.results.manifest import LockedTools
from mnedge.results.stored import read

if TYPE_CHECKING:
    from pathlib import Path


def check_tools(manifest: Path) -> None:
    """Compares the versions of mnedge and of the packages that shape its results with a manifest's.

    Args:
        manifest: manifest.json of an earlier build.

    Raises:
        InputError: No manifest there, or versions differ; the message names each and how to install the locked ones.
    """
    try:
        locked = read(manifest, LockedTools, follow=False).tools
    except InputError as exc:
        raise InputError(f"--locked: {exc}; build once without --locked, and keep its manifest.json") from exc
    here = {"mnedge": __version__, **cache.tool_versions()}
    differing = sorted(name for name in locked.keys() | here.keys() if locked.get(name) != here.get(name))
    if differing:
        said = "; ".join(f"{name} {locked.get(name, 'absent')}, here {here.get(name, 'absent')}" for name in differing)
        pins = " ".join(f"{name}=={locked[name]}" for name in differing if name in locked)
        raise InputError(f"--locked: {manifest} was built with {said}. pip install {pins}")
