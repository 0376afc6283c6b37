"""The proof of what mnedge wrote: a hidden file in each folder that it writes to, with the checksums of its files.

The one rule: a file that mnedge cannot prove to be its own, unchanged work is not touched.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mnedge.files import FORBIDDEN, RECORD, is_scratch, sha256, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)
_SCHEMA = 1


def read_record(folder: Path) -> Record:
    """Reads the record of a folder; a missing or damaged record proves nothing and is read as an empty one."""
    path = folder / RECORD
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return Record()
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return Record()
    if not isinstance(found, dict) or found.get("mnedge") != _SCHEMA or not isinstance(found.get("kind", ""), str):
        return Record()
    parts = [found.get(name, {}) for name in ("folder", "files", "coming")]
    if not all(isinstance(part, dict) and all(isinstance(value, str) for value in part.values()) for part in parts):
        return Record()
    return Record(found.get("kind", ""), *parts)


def write_record(folder: Path, record: Record) -> None:
    """Writes the record of a folder of the user's; files that are gone leave it."""
    present = {name: value for name, value in record.files.items() if os.path.lexists(folder / name)}
    text = replace(record, files=present).text
    with suppress(OSError, UnicodeDecodeError):
        if (folder / RECORD).read_text() == text:
            return
    try:
        write_bytes(folder / RECORD, text.encode())
    except OSError as exc:
        if exc.errno not in FORBIDDEN:
            raise
        # Somebody else's folder that one may add to, such as /tmp: the file is written, and asked about next time.
        log.info("%s cannot be written: %s", folder / RECORD, exc.strerror)


def strangers(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the description of each file that is not mnedge's own, unchanged work of this kind."""
    if not folder.is_dir():
        return
    record = read_record(folder)
    whole = {**record.folder, **(record.coming if record.kind else {})}
    for name in entries(folder):
        if any(is_scratch(part) for part in name.split("/")) or (name == RECORD and record != Record()):
            continue
        if name not in whole and name not in record.files:
            yield name, "did not write"
        elif not record.owns(name, folder / name):
            yield name, "wrote, but which was changed since"
        elif name in whole and record.kind != kind:
            yield name, f"wrote as part of a {record.kind}"


def entries(folder: Path, below: str = "") -> Iterator[str]:
    """Relative paths of the files, links and empty folders (with "/" at the end) in a folder; no link is followed."""
    for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
        name = f"{below}{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            yield name
        elif os.listdir(entry):  # noqa: PTH208 - a DirEntry
            yield from entries(folder, f"{name}/")
        else:
            yield f"{name}/"


def checksum_of(path: Path) -> str | None:
    """Checksum of a plain file, "" of an empty folder; None for links, devices and what cannot be read."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            return "" if not os.listdir(path) else None  # noqa: PTH208 - the first name is enough
        return sha256(path) if stat.S_ISREG(mode) else None
    except OSError:
        return None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other programs of mnedge out of a folder's record; where nothing can be locked, they are trusted."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Record:
    """The record of a folder: the checksum of each file by its relative path; "" for an empty folder, "NAME/".

    Attributes:
        kind: Kind of the whole folder; "" for a folder of the user's that files were delivered to.
        folder: Files of the whole folder, which go when the folder is replaced.
        files: Files that were delivered one by one.
        coming: Files that are being written now.
    """

    kind: str = ""
    folder: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    coming: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """RECORD's content; the same files give the same bytes."""
        parts = {name: value for name, value in vars(self).items() if value}
        return json.dumps({"mnedge": _SCHEMA, **parts}, indent=1, sort_keys=True) + "\n"

    def owns(self, name: str, path: Path) -> bool:
        """Returns whether a file is as mnedge wrote it."""
        known = {part.get(name) for part in (self.folder, self.files, self.coming)} - {None}
        return bool(known) and checksum_of(path) in known

    def having(self, name: str, checksum: str) -> Record:
        """The record with one file that is now in place."""
        coming = {other: value for other, value in self.coming.items() if other != name}
        if name in self.folder:
            return replace(self, folder={**self.folder, name: checksum}, coming=coming)
        return replace(self, files={**self.files, name: checksum}, coming=coming)
