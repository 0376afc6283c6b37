"""Content-addressed results of stages; the only file that writes to the cache.

An entry is a folder named after the stage and the hash of all that goes in, with the checksums of what came out.
It appears by a rename, so it is whole or not there; a checksum that does not fit makes it be rebuilt.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as memoized
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from mnedge.errors import FULL, InputError, MnedgeError, StorageError
from mnedge.files import FORBIDDEN, is_scratch, sha256, size_bytes, temporary, write_bytes
from mnedge.heap import give_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


log = logging.getLogger(__name__)
_ENTRY = "entry.json"
_NAME = re.compile(r"([a-z][a-z0-9-]*)-[0-9a-f]{32}", re.ASCII)
# A record names some dozens of files.
_LARGEST_RECORD = 16 << 20
_ABANDONED_S = 24 * 3600
_TOOLS = ("tensorflow", "keras", "numpy", "onnx", "onnxruntime", "ai-edge-litert", "scikit-learn", "pillow")

# By the cache that may only be read: the folder that takes what this run makes.
_PASSING: dict[Path, Path] = {}


class _Record(TypedDict):
    """The record of an entry: its stage, and the checksum of each file by its path."""

    stage: str
    files: dict[str, str]


@dataclass(frozen=True)
class Entry:
    """A cached result: its folder, stage, size and the time of its last use (seconds since 1970)."""

    path: Path
    stage: str
    size_bytes: int
    used_at: float


def root() -> Path:
    """The cache's folder: $MNEDGE_CACHE, or mnedge below the user's cache folder."""
    if chosen := os.environ.get("MNEDGE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "mnedge"


def _home() -> Path:
    """The user's folder; "/", as in a container, for a user of whom nothing is known but a number."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


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


def stage(name: str, key: Mapping[str, object], make: Callable[[Path], None], *, least_bytes: int = 0) -> Path:
    """Returns the folder with a stage's result, made now or earlier.

    Args:
        name: The stage's name.
        key: All that goes in, as JSON values; code and tool versions are added here.
        make: Fills an empty folder. It runs at most once per key; if it fails, nothing is kept.
        least_bytes: Bytes that the result takes at least: where there is less room, it is not begun.

    Raises:
        InputError: The cache cannot be written.
        StorageError: Its disk is full.
    """
    parts = {"key": key, "code": code_sha256(), "tools": tool_versions()}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    # The second name is for where something that is not provably the cache's stands under the first.
    called = (f"{name}-{digest[:32]}", f"{name}-{digest[32:]}")
    places = [place / one for place in (root(), *_passing()) for one in called]
    entry = next((place for place in places if _is_whole(place)), None)
    if entry is not None:
        with suppress(OSError):
            # In a cache that may only be read, the time of the last use stays.
            os.utime(entry)
        log.info("%s: from the cache", name)
        return entry
    scratch = _scratch(called[0])
    if shutil.disk_usage(scratch).free < least_bytes:
        scratch.rmdir()
        raise _unwritable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    try:
        make(scratch)
        give_back()
        files = sorted(path for path in scratch.rglob("*") if path.is_file())
        sums = {path.relative_to(scratch).as_posix(): sha256(path) for path in files}
        (scratch / _ENTRY).write_text(json.dumps({"stage": name, "key": key, "files": sums}, default=str, indent=1))
        entry = _place(scratch, called)
    except OSError as exc:
        if exc.filename is not None and not str(exc.filename).startswith(str(scratch.parent)):
            raise
        raise _unwritable(exc) from exc
    except StorageError as exc:
        if isinstance(exc.__cause__, OSError):
            raise _unwritable(exc.__cause__) from exc
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return entry


def check() -> None:
    """Makes sure, before long work, that the cache can be used; one that may only be read can.

    Raises:
        InputError: It cannot be made, or neither read nor written.
    """
    _scratch("probe").rmdir()


def _scratch(called: str) -> Path:
    """A new folder for an entry under way, in the cache or, where that may only be read, in one of this run alone."""
    place = _passing()[0] if _passing() else root()
    try:
        place.mkdir(parents=True, exist_ok=True)
        scratch = temporary(place / called)
        scratch.mkdir()
    except OSError as exc:
        # A folder that the user chose and that cannot be made is a mistake; that of a user without a home is none.
        is_mistaken = bool(os.environ.get("MNEDGE_CACHE")) and not root().is_dir()
        if exc.errno not in FORBIDDEN or is_mistaken or _passing():
            raise _unwritable(exc) from exc
    else:
        return scratch
    why = "may only be read" if root().is_dir() else "cannot be made (MNEDGE_CACHE names another folder)"
    _warn_once(f"the cache {root()} {why}: what is not in it is made, and dropped when this run ends")
    _stand_in()
    return _scratch(called)


def _stand_in() -> Path:
    """A folder of this run alone that takes what the cache cannot."""
    if root() not in _PASSING:
        folder = tempfile.mkdtemp(prefix="mnedge-cache-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _PASSING[root()] = Path(folder)
    return _PASSING[root()]


def _passing() -> tuple[Path, ...]:
    """Returns the folder of this run that stands in for a full cache; None if there is none."""
    return (_PASSING[root()],) if root() in _PASSING else ()


def _unwritable(exc: OSError) -> MnedgeError:
    if exc.errno not in FULL:
        return InputError(f"the cache {root()} cannot be written: {exc.strerror}; set MNEDGE_CACHE to another folder")
    # Stages also work in the folder for temporary files; the fuller of the two is the one that is meant.
    temporaries = Path(tempfile.gettempdir())
    places = {f"the cache {root()}": root(), f"the temporary folder {temporaries}": temporaries}
    free = {what: shutil.disk_usage(place).free for what, place in places.items() if place.is_dir()}
    what = min(free, key=lambda what: free[what], default=f"the cache {root()}")
    variable = "MNEDGE_CACHE" if what.startswith("the cache") else "TMPDIR"
    return StorageError(f"{what} cannot be written: {exc.strerror}; free some space, or set {variable} to another disk")


def _place(scratch: Path, called: tuple[str, ...]) -> Path:
    """Gives a whole entry its name: the first one that is free, or that a damaged entry of the cache's has."""
    for entry in (scratch.parent / one for one in called):
        if os.path.lexists(entry) and not _is_whole(entry):
            if _record(entry) is None:
                _warn_once(
                    f"{entry} is no entry of the cache's, by its name and record, and is left alone; remove it by hand "
                    "if it is of no use"
                )
                continue
            shutil.rmtree(entry)
        try:
            scratch.rename(entry)
        except OSError:
            # Another build of the same key was faster; its result is as good.
            if not _is_whole(entry):
                raise
        return entry
    entry = _stand_in() / called[0]
    if not _is_whole(entry):
        shutil.rmtree(entry, ignore_errors=True)
        shutil.move(scratch, entry)
    return entry


def _record(entry: Path) -> _Record | None:
    """Reads the record that the cache wrote of an entry; None for another name or without such a record."""
    named = _NAME.fullmatch(entry.name)
    record = entry / _ENTRY
    try:
        if named is None or entry.is_symlink() or not _is_plain(record) or record.stat().st_size > _LARGEST_RECORD:
            return None
        found = json.loads(record.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("stage") != named[1]:
        return None
    files = found.get("files")
    if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
        return None
    return cast("_Record", found)


def _is_whole(entry: Path) -> bool:
    """Returns whether an entry has exactly the files that its record names."""
    if not os.path.lexists(entry):
        return False
    whole = False
    with suppress(OSError, ValueError, TypeError):
        found = _record(entry)
        sums = found["files"] if found is not None else {}
        names = {path.relative_to(entry).as_posix() for path in entry.rglob("*") if not path.is_dir()}
        # A record that lost its list would make an empty folder whole, and every later build fail.
        whole = bool(sums) and sums.keys() == names - {_ENTRY}
        whole = whole and all(_is_plain(entry / name) and sha256(entry / name) == sums[name] for name in sums)
    if not whole:
        _warn_once(f"{entry}: a file does not fit its checksum; making it again")
    return whole


def _is_plain(path: Path) -> bool:
    """Returns whether a path is a regular file: no link, which leads elsewhere, and no pipe, which never ends."""
    return path.is_file() and not path.is_symlink()


def resumable(name: str, key: Mapping[str, object]) -> Path:
    """Returns the folder where unfinished work keeps its results: see `keep`, `recall`, `forget`.

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
    _mark(work)
    keep_file(work / _part(inputs), hashlib.sha256(outputs).digest() + outputs)


def keep_file(path: Path, data: bytes) -> None:
    """Writes a file that only saves time if this run is cut off; where it cannot be written, it is said once."""
    try:
        write_bytes(path, data)
    except OSError as exc:
        _warn_once(f"the cache {root()} cannot be written ({exc.strerror}): if this run is cut off, it starts anew")


def checkpoints(name: str) -> Path:
    """The folder in the cache for files of `keep_file` that have names of their own."""
    work = resumable(name, {})
    _mark(work)
    return work


def _mark(work: Path) -> None:
    """Marks a folder of unfinished work as the cache's, so that `prune` may take it."""
    if not (work / _ENTRY).is_file():
        record = {"stage": work.name.rpartition("-")[0], "files": {}}
        with suppress(OSError):
            write_bytes(work / _ENTRY, json.dumps(record).encode())


def recall(work: Path, inputs: bytes) -> bytes | None:
    """The outputs that were kept for these inputs, or None; a damaged file counts as none."""
    part = work / _part(inputs)
    try:
        if not _is_plain(part):
            return None
        kept = part.read_bytes()
    except OSError:
        return None
    return kept[32:] if hashlib.sha256(kept[32:]).digest() == kept[:32] else None


def forget(work: Path) -> None:
    """Removes what a folder of `resumable` keeps: the work is whole."""
    if _record(work) is not None:
        shutil.rmtree(work, ignore_errors=True)


@memoized
def _warn_once(words: str) -> None:
    log.warning(words)


def _part(inputs: bytes) -> str:
    return hashlib.sha256(inputs).hexdigest()[:32]


def entries() -> list[Entry]:
    """Lists the entries, the last used one first; other files in the folder are left out."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in root().iterdir():
            record = _record(path)
            if record is not None:
                found.append(Entry(path, record["stage"], size_bytes(path), path.stat().st_mtime))
    return sorted(found, key=lambda entry: -entry.used_at)


def prune(keep_bytes: int = 0) -> int:
    """Removes the entries used longest ago until at most `keep_bytes` are left, and abandoned scratch folders.

    What does not carry the cache's own name and record stays: the folder may be the user's home.

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
        for path in root().iterdir():
            if not is_scratch(path.name) or path.is_symlink() or not path.is_dir():
                continue
            if keep_bytes == 0 or time.time() - path.stat().st_mtime > _ABANDONED_S:
                freed += size_bytes(path)
                shutil.rmtree(path, ignore_errors=True)
    return freed
