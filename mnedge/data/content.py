"""Content of a data set's files, as one checksum: what every cached result of the data set is kept under.

A file is read once. Its digest is remembered in the cache for its path, device, inode, size, time of modification and
time of status change, which nobody can set back as `os.utime` sets back the time of modification.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mnedge import cache
from mnedge.errors import InputError
from mnedge.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A file may change twice within one tick of its file system's clock (FAT: 2 s), so young files are not remembered.
_SETTLED_NS = 2_000_000_000
_Value = TypeVar("_Value")
_Mark = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Content:
    """Content of a data set besides its labels and splits.

    Attributes:
        files: Pictures and masks, in the order of the data set.
        other: Checksum or version of the content outside `files`: boxes, or pictures out of a package.
        root: The folder of the data set; "" without files.
        is_trusted: Whether the digest of an untouched file is taken from the cache; False reads every file.
    """

    files: tuple[Path, ...] = ()
    other: str = ""
    root: str = ""
    is_trusted: bool = True

    def read_again(self) -> Content:
        """Returns the content with every file read again, whatever the cache remembers."""
        return replace(self, is_trusted=False)

    def sha256(self) -> str:
        """Checksum of `other` and of the bytes of all files.

        Raises:
            InputError: A file cannot be read.
        """
        digest = hashlib.sha256(self.other.encode())
        for file in digests(self.files, self.root, is_trusted=self.is_trusted):
            digest.update(f"\0{file}".encode())
        return digest.hexdigest()


def digests(files: Sequence[Path], root: str, *, is_trusted: bool = True) -> list[str]:
    """The SHA-256 of each file, as hexadecimal digits.

    Args:
        files: The files.
        root: The folder that their digests are remembered for.
        is_trusted: Whether remembered digests are used.

    Raises:
        InputError: A file cannot be read.
    """
    if not files:
        return []
    work = cache.resumable("digests", {})
    name = os.fsencode(Path(root).absolute())
    remembered = _remembered(cache.recall(work, name))
    known = remembered if is_trusted else {}

    begun = time.time_ns()
    found: dict[str, tuple[_Mark, str]] = {}
    new: dict[str, tuple[_Mark, Path]] = {}
    paths = [str(file.absolute()) for file in files]
    for path, file in zip(paths, files, strict=True):
        mark = _read(file, _mark)
        if path in known and known[path][0] == mark:
            found[path] = known[path]
        else:
            # The mark is older than what is read: a file that changes meanwhile is read again next time.
            new[path] = mark, file
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda entry: _read(entry[1], sha256), new.values())
        found |= {path: (mark, own) for (path, (mark, _)), own in zip(new.items(), read, strict=True)}
    settled = {path: found[path] for path in new if max(found[path][0][3:]) < begun - _SETTLED_NS}
    if settled:
        cache.keep(work, name, json.dumps({**remembered, **settled}).encode())
    return [found[path][1] for path in paths]


def _read(file: Path, what: Callable[[Path], _Value]) -> _Value:
    try:
        return what(file)
    except OSError as exc:
        raise InputError(f"{file} cannot be read: {exc.strerror}") from exc


def _mark(file: Path) -> _Mark:
    """Marks of a file that change when it does: device, inode, size, times of modification and status change, ns."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _remembered(kept: bytes | None) -> dict[str, tuple[_Mark, str]]:
    """Digests by path; none where the cache's file has another shape."""
    try:
        rows = json.loads(kept or b"{}")
        return {str(path): (_as_mark(*mark), str(digest)) for path, (mark, digest) in rows.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _as_mark(device: int, inode: int, size: int, modified: int, changed: int) -> _Mark:
    return device, inode, size, modified, changed
