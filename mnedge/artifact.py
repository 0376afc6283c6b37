"""Files that leave the program: complete or absent, and never in the place of a user's file.

A user's file is written by `deliver`, a user's folder by `folder`; both replace only what record.py proves to be
mnedge's own, unchanged work.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mnedge.errors import FULL, InputError, StorageError
from mnedge.files import RECORD, sha256, temporary, write_bytes, write_text
from mnedge.record import Record, checksum_of, entries, locked, read_record, strangers, write_record
from mnedge.replacement import FORCE_ADVICE, is_fixed, occupied, sweep, take_place
from mnedge.text import utf8

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)
# The class names of a build, one a line.
LABELS = "labels.txt"
# Files that are delivered as one, each with the folders that were made for it; None outside of `together`.
_TOGETHER: ContextVar[list[tuple[Path, list[Path]]] | None] = ContextVar("_TOGETHER", default=None)
Format = Literal["tflite", "onnx", "c"]
Precision = Literal["fp32", "int8"]
Io = Literal["float32", "int8", "uint8"]
Kind = Literal["build", "bundle", "compiled model"]


@dataclass(frozen=True)
class Artifact:
    """A file (or folder of C sources) that `build` made.

    Attributes:
        path: Path of the file or folder.
        format: File format.
        precision: Precision of the arithmetic.
        io: dtype of its input and output.
        target: Name of the target that it was made for.
    """

    path: Path
    format: Format
    precision: Precision
    io: Io
    target: str


def deliver(path: Path, data: bytes | str, *, force: bool = False) -> None:
    """Writes a file of the user's, whole or not at all; a symbolic link is followed.

    Args:
        path: Where.
        data: Its bytes, or its text.
        force: Replace a file that is not mnedge's own, unchanged work.

    Raises:
        InputError: The file there is not mnedge's to replace, or the folder cannot be written.
        StorageError: The disk is full.
    """
    content = utf8(data).encode() if isinstance(data, str) else data
    with _explained(path):
        place = _resolved(path)
        with _made(place.parent) as made:
            with locked(place.parent):
                _check_file(place, path, force=force)
                is_new = not os.path.lexists(place)
                try:
                    _put(place, content)
                except BaseException:
                    if is_new:
                        _take_back(place)
                    raise
            if is_new and (others := _TOGETHER.get()) is not None:
                others.append((place, made))


def _put(place: Path, content: bytes) -> None:
    """Writes a file, and its checksum into the record of its folder."""
    record = read_record(place.parent)
    if record.owns(place.name, place):
        # The proof of what is there must outlive another kill.
        record = record.having(place.name, sha256(place))
    checksum = hashlib.sha256(content).hexdigest()
    # First what may come: killed in between, both the old and the new file are known as mnedge's.
    write_record(place.parent, replace(record, coming={**record.coming, place.name: checksum}))
    write_bytes(place, content)
    write_record(place.parent, record.having(place.name, checksum))


def _take_back(place: Path) -> None:
    """Removes a file that was delivered just now, and what the record of its folder says of it."""
    with suppress(OSError):
        place.unlink(missing_ok=True)
        record = read_record(place.parent)
        files, coming = (
            {name: value for name, value in part.items() if name != place.name}
            for part in (record.files, record.coming)
        )
        left = replace(record, files=files, coming=coming)
        if left != Record():
            write_record(place.parent, left)
        elif record != left:
            (place.parent / RECORD).unlink(missing_ok=True)


@contextmanager
def together() -> Iterator[None]:
    """Makes one of all files that are delivered in the block: after an error, those that are new go again."""
    outer = _TOGETHER.get()
    delivered: list[tuple[Path, list[Path]]] = []
    token = _TOGETHER.set(delivered)
    try:
        yield
    except BaseException:
        for place, made in reversed(delivered):
            with locked(place.parent):
                _take_back(place)
            _unmake(made)
        raise
    finally:
        _TOGETHER.reset(token)
    if outer is not None:
        outer += delivered


@contextmanager
def folder(path: Path, *, kind: Kind, force: bool = False) -> Iterator[Path]:
    """Gives an empty folder that takes the place of `path` when the block ends well; a symbolic link is followed.

    An older folder is replaced where all that is in it is mnedge's own, unchanged work of this kind; files that were
    delivered into it one by one, such as the gates of a build as JUnit, stay in the new one. With `force` a
    folder that holds other things is written into: files of the same name are replaced, what mnedge did not write
    stays. After an error nothing is left behind and the older folder stays.

    Raises:
        InputError: A file there is not mnedge's to replace, or the parent cannot be written.
        StorageError: The disk is full.
    """
    with _explained(path):
        check_folder(path, kind=kind, force=force)
        place = path.resolve()
        with _made(place.parent):
            sweep(place)
            scratch = temporary(place / place.name if is_fixed(place) else place)
            scratch.mkdir()
            try:
                yield scratch
                found = {name: checksum_of(scratch / name) for name in entries(scratch)}
                names = {name: checksum for name, checksum in found.items() if checksum is not None}
                write_text(scratch / RECORD, Record(kind=kind, folder=names).text)
                with locked(place.parent):
                    take_place(scratch, place, path, kind=kind, force=force)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def withdraw(path: Path, *, force: bool = False) -> None:
    """Removes a file that an earlier run delivered and that is out of date; a file of the user's stays."""
    place = path.resolve()
    with locked(place.parent):
        if not os.path.lexists(place):
            return
        if force or read_record(place.parent).owns(place.name, place):
            place.unlink()
        else:
            log.warning("%s is of an earlier run, but was changed since, so it stays", path)


def check_file(path: Path, *, force: bool = False) -> None:
    """Makes sure, before long work, that `deliver` can write a file.

    Raises:
        InputError: The file there is not mnedge's to replace, or the folder cannot be written.
    """
    with _explained(path):
        place = _resolved(path)
        with locked(place.parent):
            _check_file(place, path, force=force)
        _check_writable(place.parent)


def check_folder(path: Path, *, kind: Kind, force: bool = False) -> None:
    """Makes sure, before long work, that `folder` can write a folder.

    Raises:
        InputError: A file there is not mnedge's to replace, or the parent cannot be written.
    """
    with _explained(path):
        place = _resolved(path)
        with locked(place.parent):
            # Behind the lock, where no other process is about to put its folder in place.
            if place.exists() and not place.is_dir():
                raise InputError(f"{path} is a file, and a folder is to be written; choose another place")
            stranger = next(strangers(place, kind), None)
        if stranger is not None and not force:
            raise occupied(path, *stranger)
        _check_writable(place if is_fixed(place) else place.parent)


@contextmanager
def _made(folder: Path) -> Iterator[list[Path]]:
    """Makes a folder, and gives those that are new, the deepest first; after an error they go again."""
    new = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield new
    except BaseException:
        _unmake(new)
        raise


def _unmake(folders: list[Path]) -> None:
    """Removes folders, the deepest first, that hold nothing; what others put there stays."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def check_reachable(path: Path) -> None:
    """Makes sure, before long work, that files can be made in a folder that may not exist yet.

    Raises:
        InputError: A file is in the way, or the folder cannot be written.
    """
    with _explained(path):
        _check_writable(_resolved(path))


def check_space(folder: Path, least_bytes: int) -> None:
    """Makes sure, before long work, that a folder that may not exist yet has room for so much.

    Raises:
        StorageError: It has not.
    """
    free = shutil.disk_usage(_existing(folder.resolve())).free
    if free < least_bytes:
        said = f"{os.strerror(errno.ENOSPC)}: {free:,} bytes are free, and at least {least_bytes:,} are needed"
        raise StorageError(f"{folder} cannot be written: {said}; free some space there, or choose another disk")


def _check_file(place: Path, path: Path, *, force: bool) -> None:
    if not os.path.lexists(place):
        return
    if place.is_dir():
        raise InputError(f"{path} is a folder, and a file is to be written; choose another name")
    if not place.is_file():
        raise InputError(f"{path} is no regular file, so it is not replaced; choose another name")
    record = read_record(place.parent)
    if force or record.owns(place.name, place):
        return
    known = {**record.folder, **record.files}
    what = "was changed since mnedge wrote it" if place.name in known else "exists, and mnedge did not write it"
    raise InputError(f"{path} {what}, so it is not replaced; {FORCE_ADVICE} to replace it")


def _resolved(path: Path) -> Path:
    """Resolves a path and checks the length of its names, which otherwise fails only when the file is written."""
    place = path.resolve()
    existing = _existing(place)
    longest = os.pathconf(existing, "PC_NAME_MAX")
    if any(len(os.fsencode(name)) > longest for name in place.parts):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(place))
    return place


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that there is."""
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))


def _check_writable(folder: Path) -> None:
    """Raises what making a file in a folder, which may not exist yet, would raise."""
    existing = _existing(folder)
    if not existing.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{existing} is a file, not a folder", str(folder))
    probe = temporary(existing / "probe")
    probe.mkdir()
    probe.rmdir()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in FULL:
            raise StorageError(f"{path} cannot be written: {exc.strerror}; free some space there") from exc
        raise InputError(f"{path} cannot be written: {exc.strerror or exc}; choose another place with --out") from exc
    except RuntimeError as exc:
        # Python below 3.13 raises this for symbolic links in a circle.
        if "Symlink loop" not in str(exc):
            raise
        raise InputError(f"{path} cannot be written: its symbolic links lead in a circle") from exc
