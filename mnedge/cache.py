"""Content-addressed results of stages; the only file that writes to the cache.

An entry is a folder named after the stage and the hash of all that goes in, with the checksums of what came out.
It appears by a rename, so it is whole or not there; a checksum that does not fit makes it be rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as memoized
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.artifact import sha256, size_bytes, write_bytes
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)
_ENTRY = "entry.json"
_SCRATCH = ".making-"
_ABANDONED_S = 24 * 3600
_TOOLS = ("tensorflow", "keras", "numpy", "onnx", "onnxruntime", "ai-edge-litert", "scikit-learn", "pillow")


@dataclass(frozen=True)
class Entry:
    """One cached result: its folder, stage, size and the time of its last use (seconds since 1970)."""

    path: Path
    stage: str
    size_bytes: int
    used_at: float


def root() -> Path:
    """The cache's folder: $MNEDGE_CACHE, or mnedge below the user's cache folder."""
    if chosen := os.environ.get("MNEDGE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnedge"


@memoized
def tool_versions() -> dict[str, str]:
    """Versions of the packages that shape the results, without importing them."""
    versions = {}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@memoized
def code_sha256() -> str:
    """Checksum of this package's own source, so that a changed program never meets old results."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".c", ".h") and path.is_file():
            digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def stage(name: str, key: Mapping[str, object], make: Callable[[Path], None]) -> Path:
    """Returns the folder with a stage's result, made now or earlier.

    Args:
        name: The stage's name.
        key: All that goes in, as JSON values; code and tool versions are added here.
        make: Fills an empty folder. It runs at most once per key; if it fails, nothing is kept.

    Raises:
        InputError: The cache cannot be written.
    """
    parts = {"key": key, "code": code_sha256(), "tools": tool_versions()}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    entry = root() / f"{name}-{digest[:32]}"
    if _is_whole(entry):
        # A cache that cannot be written still serves.
        with suppress(OSError):
            os.utime(entry)
        log.info("%s: from the cache", name)
        return entry
    try:
        root().mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=root(), prefix=_SCRATCH))
    except OSError as exc:
        raise InputError(f"the cache {root()} cannot be written: {exc.strerror}; set MNEDGE_CACHE elsewhere") from exc
    try:
        make(scratch)
        files = sorted(path for path in scratch.rglob("*") if path.is_file())
        sums = {path.relative_to(scratch).as_posix(): sha256(path) for path in files}
        (scratch / _ENTRY).write_text(json.dumps({"stage": name, "key": key, "files": sums}, default=str, indent=1))
        _place(scratch, entry)
    except OSError as exc:
        if exc.filename is not None and not str(exc.filename).startswith(str(root())):
            raise
        raise InputError(
            f"the cache {root()} cannot be written: {exc.strerror}; free space or set MNEDGE_CACHE"
        ) from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return entry


def _place(scratch: Path, entry: Path) -> None:
    if os.path.lexists(entry) and not _is_whole(entry):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    try:
        scratch.rename(entry)
    except OSError:
        # Another build of the same key was faster; its result is as good.
        if not _is_whole(entry):
            raise


def _is_whole(entry: Path) -> bool:
    """Whether an entry has the files that its record names, as it names them, and no others."""
    if not os.path.lexists(entry):
        return False
    whole = False
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        sums = dict(json.loads((entry / _ENTRY).read_bytes())["files"])
        names = {path.relative_to(entry).as_posix() for path in entry.rglob("*") if not path.is_dir()}
        # A record that lost its list would make an empty folder whole, and every later build fail.
        whole = bool(sums) and sums.keys() == names - {_ENTRY}
        whole = whole and all(_is_plain(entry / name) and sha256(entry / name) == sums[name] for name in sums)
    if not whole:
        log.warning("%s: a file does not fit its checksum; making it again", entry.name)
    return whole


def _is_plain(path: Path) -> bool:
    """Whether it is a file of its own: no link, which leads elsewhere, and no pipe, which never ends."""
    return path.is_file() and not path.is_symlink()


def resumable(name: str, key: Mapping[str, object]) -> Path:
    """Names the folder where work that may be cut off keeps what it has: see `keep`, `recall`, `forget`.

    Args:
        name: The work's name.
        key: All that the partial results depend on besides the inputs of each, as JSON values.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
    return root() / f"{name}-{digest[:32]}"


def keep(work: Path, inputs: bytes, outputs: bytes) -> None:
    """Keeps the outputs of some inputs, with their checksum, in a folder of `resumable`.

    A cache that cannot be written costs the outputs if the work is cut off, and must not end the work itself.
    """
    try:
        write_bytes(work / _part(inputs), hashlib.sha256(outputs).digest() + outputs)
    except InputError:
        _warn_once(f"the cache {root()} cannot be written: if this run is cut off, the next one starts anew")


def recall(work: Path, inputs: bytes) -> bytes | None:
    """The outputs that were kept for these inputs, or None; a damaged file counts as none."""
    try:
        kept = (work / _part(inputs)).read_bytes()
    except OSError:
        return None
    return kept[32:] if hashlib.sha256(kept[32:]).digest() == kept[:32] else None


def forget(work: Path) -> None:
    """Removes what a folder of `resumable` keeps: the work is whole."""
    shutil.rmtree(work, ignore_errors=True)


@memoized
def _warn_once(words: str) -> None:
    log.warning(words)


def _part(inputs: bytes) -> str:
    return hashlib.sha256(inputs).hexdigest()[:32]


def entries() -> list[Entry]:
    """All entries, the one used last first."""
    if not root().is_dir():
        return []
    found = []
    for path in root().iterdir():
        if path.is_dir() and not path.name.startswith("."):
            stage_name = path.name.rpartition("-")[0]
            found.append(Entry(path, stage_name, size_bytes(path), path.stat().st_mtime))
    return sorted(found, key=lambda entry: -entry.used_at)


def prune(keep_bytes: int = 0) -> int:
    """Removes the entries used longest ago until at most `keep_bytes` are left, and abandoned scratch folders.

    Returns:
        The bytes that were freed.
    """
    freed, kept = 0, 0
    for entry in entries():
        if kept + entry.size_bytes <= keep_bytes:
            kept += entry.size_bytes
            continue
        shutil.rmtree(entry.path, ignore_errors=True)
        freed += entry.size_bytes
    if root().is_dir():
        for path in root().glob(f"{_SCRATCH}*"):
            if keep_bytes == 0 or time.time() - path.stat().st_mtime > _ABANDONED_S:
                freed += size_bytes(path)
                shutil.rmtree(path, ignore_errors=True)
    return freed
