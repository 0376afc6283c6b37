"""Files that leave the program: complete or absent, and never in the place of a user's file.

The one rule: what mnedge cannot prove to be its own, unchanged work is not touched. The proof is RECORD, a hidden file
in every folder that mnedge writes to, with the checksum of each file that it wrote there. The cache and scratch
folders are mnedge's alone and need no proof: `write_bytes`, `write_text` and `copy` are for them; a user's file is
written by `deliver`, a user's folder by `folder`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge.errors import InputError, StorageError
from mnedge.text import utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)
RECORD = ".mnedge.json"
_SCHEMA = 1
_MARK = ".mnedge-tmp-"
_TEMPORARY = re.compile(r"\..*\.mnedge-tmp-[0-9a-f]{16}", re.DOTALL)
_ABANDONED_S = 3600.0
# The class names of a build, one a line.
LABELS = "labels.txt"
_LONGEST_NAME_BYTES = 255
_OLD = "old"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# Files that are delivered as one, each with the folders that were made for it; None outside of `together`.
_TOGETHER: ContextVar[list[tuple[Path, list[Path]]] | None] = ContextVar("_TOGETHER", default=None)
_FORCE = "choose another place, or give --force"
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


def files_of(folder: Path) -> list[Path]:
    """Returns all files below a folder, sorted, without the records of who wrote them."""
    return sorted(path for path in folder.rglob("*") if path.name != RECORD and path.is_file())


def size_bytes(path: Path) -> int:
    """Size of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in files_of(path))


def sha256(path: Path) -> str:
    """Checksum of a file, or of a folder's sorted file names and contents."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in files_of(path):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file of the cache or of a scratch folder, whole or not at all.

    Raises:
        OSError: It cannot be written; who owns the folder says what that means.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    scratch = temporary(path)
    try:
        # The mode is what umask leaves of this one.
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file of the cache or of a scratch folder with newline endings, whole or not at all."""
    write_bytes(path, utf8(text).encode())


def deliver(path: Path, data: bytes | str, *, force: bool = False) -> None:
    """Writes a file of the user's, whole or not at all; a symbolic link is followed.

    Args:
        path: Where.
        data: Its bytes, or its text.
        force: Replace a file that is not mnedge's own, unchanged work.

    Raises:
        InputError: What is there is not mnedge's to replace, or the folder cannot be written.
        StorageError: The disk is full.
    """
    content = utf8(data).encode() if isinstance(data, str) else data
    with _explained(path):
        place = _resolved(path)
        with _made(place.parent) as made:
            with _locked(place.parent):
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
    record = _recorded(place.parent)
    if record.owns(place.name, place):
        # The proof of what is there must outlive another kill.
        record = record.having(place.name, sha256(place))
    checksum = hashlib.sha256(content).hexdigest()
    # First what may come: killed in between, both the old and the new file are known as mnedge's.
    _note(place.parent, replace(record, coming={**record.coming, place.name: checksum}))
    write_bytes(place, content)
    _note(place.parent, record.having(place.name, checksum))


def _take_back(place: Path) -> None:
    """Removes a file that was delivered just now, and what the record of its folder says of it."""
    with suppress(OSError):
        place.unlink(missing_ok=True)
        record = _recorded(place.parent)
        files, coming = (
            {name: value for name, value in part.items() if name != place.name}
            for part in (record.files, record.coming)
        )
        left = replace(record, files=files, coming=coming)
        if left != _Record():
            _note(place.parent, left)
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
            with _locked(place.parent):
                _take_back(place)
            _unmake(made)
        raise
    finally:
        _TOGETHER.reset(token)
    if outer is not None:
        outer += delivered


def copy(source: Path, path: Path) -> None:
    """Copies a file to a place in the cache or in a scratch folder, whole or not at all."""
    write_bytes(path, source.read_bytes())


@contextmanager
def folder(path: Path, *, kind: Kind, force: bool = False) -> Iterator[Path]:
    """Gives an empty folder that takes the place of `path` when the block ends well; a symbolic link is followed.

    An older folder is replaced where all that is in it is mnedge's own, unchanged work of this kind; files that were
    delivered into it one by one, such as the gates of a build as JUnit, stay in the new one. With `force` a
    folder that holds other things is written into: files of the same name are replaced, what mnedge did not write
    stays. After an error nothing is left behind and the older folder stays.

    Raises:
        InputError: What is there is not mnedge's to replace, or the parent cannot be written.
        StorageError: The disk is full.
    """
    with _explained(path):
        check_folder(path, kind=kind, force=force)
        place = path.resolve()
        with _made(place.parent):
            _sweep(place)
            scratch = temporary(place / place.name if _is_fixed(place) else place)
            scratch.mkdir()
            try:
                yield scratch
                found = {name: _checksum(scratch / name) for name in _names(scratch)}
                names = {name: checksum for name, checksum in found.items() if checksum is not None}
                write_text(scratch / RECORD, _Record(kind=kind, folder=names).text)
                with _locked(place.parent):
                    _take_place(scratch, place, path, kind=kind, force=force)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def withdraw(path: Path, *, force: bool = False) -> None:
    """Removes a file that an earlier run delivered and that is out of date; a file of the user's stays."""
    place = path.resolve()
    with _locked(place.parent):
        if not os.path.lexists(place):
            return
        if force or _recorded(place.parent).owns(place.name, place):
            place.unlink()
        else:
            log.warning("%s is of an earlier run, but was changed since, so it stays", path)


def check_file(path: Path, *, force: bool = False) -> None:
    """Makes sure, before long work, that `deliver` can write a file.

    Raises:
        InputError: What is there is not mnedge's to replace, or the folder cannot be written.
    """
    with _explained(path):
        place = _resolved(path)
        with _locked(place.parent):
            _check_file(place, path, force=force)
        _check_writable(place.parent)


def check_folder(path: Path, *, kind: Kind, force: bool = False) -> None:
    """Makes sure, before long work, that `folder` can write a folder.

    Raises:
        InputError: What is there is not mnedge's to replace, or the parent cannot be written.
    """
    with _explained(path):
        place = _resolved(path)
        with _locked(place.parent):
            # Behind the lock, where no other process is about to put its folder in place.
            if place.exists() and not place.is_dir():
                raise InputError(f"{path} is a file, and a folder is to be written; choose another place")
            stranger = next(_strangers(place, kind), None)
        if stranger is not None and not force:
            raise _occupied(path, *stranger)
        _check_writable(place if _is_fixed(place) else place.parent)


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


def temporary(path: Path) -> Path:
    """A new name beside `path` that is mnedge's alone, no longer than a name may be."""
    ending = f"{_MARK}{secrets.token_hex(8)}"
    kept = os.fsencode(path.name)[: _LONGEST_NAME_BYTES - len(ending) - 1]
    return path.with_name(f".{os.fsdecode(kept)}{ending}")


def is_scratch(name: str) -> bool:
    """Returns whether mnedge gives such names to files that it is writing."""
    return _TEMPORARY.fullmatch(name) is not None


@dataclass(frozen=True)
class _Record:
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
        return bool(known) and _checksum(path) in known

    def having(self, name: str, checksum: str) -> _Record:
        """The record with one file that is now in place."""
        coming = {other: value for other, value in self.coming.items() if other != name}
        if name in self.folder:
            return replace(self, folder={**self.folder, name: checksum}, coming=coming)
        return replace(self, files={**self.files, name: checksum}, coming=coming)


def _recorded(folder: Path) -> _Record:
    """Reads the record of a folder; a missing or damaged record proves nothing and is read as an empty one."""
    path = folder / RECORD
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return _Record()
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return _Record()
    if not isinstance(found, dict) or found.get("mnedge") != _SCHEMA or not isinstance(found.get("kind", ""), str):
        return _Record()
    parts = [found.get(name, {}) for name in ("folder", "files", "coming")]
    if not all(isinstance(part, dict) and all(isinstance(value, str) for value in part.values()) for part in parts):
        return _Record()
    return _Record(found.get("kind", ""), *parts)


def _note(folder: Path, record: _Record) -> None:
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


def _checksum(path: Path) -> str | None:
    """Checksum of a plain file, "" of an empty folder; None for links, devices and what cannot be read."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            return "" if not os.listdir(path) else None  # noqa: PTH208 - the first name is enough
        return sha256(path) if stat.S_ISREG(mode) else None
    except OSError:
        return None


def _names(folder: Path, below: str = "") -> Iterator[str]:
    """Relative paths of the files, links and empty folders (with "/" at the end) in a folder; no link is followed."""
    for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
        name = f"{below}{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            yield name
        elif os.listdir(entry):  # noqa: PTH208 - a DirEntry
            yield from _names(folder, f"{name}/")
        else:
            yield f"{name}/"


def _strangers(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the description of each file that is not mnedge's own, unchanged work of this kind."""
    if not folder.is_dir():
        return
    record = _recorded(folder)
    whole = {**record.folder, **(record.coming if record.kind else {})}
    for name in _names(folder):
        if any(is_scratch(part) for part in name.split("/")) or (name == RECORD and record != _Record()):
            continue
        if name not in whole and name not in record.files:
            yield name, "did not write"
        elif not record.owns(name, folder / name):
            yield name, "wrote, but which was changed since"
        elif name in whole and record.kind != kind:
            yield name, f"wrote as part of a {record.kind}"


def _occupied(path: Path, name: str, what: str) -> InputError:
    advice = f"{_FORCE} to write into it: files of the same name are replaced, all others stay"
    return InputError(f"{path} holds {name}, which mnedge {what}, so the folder is not replaced; {advice}")


def _check_file(place: Path, path: Path, *, force: bool) -> None:
    if not os.path.lexists(place):
        return
    if place.is_dir():
        raise InputError(f"{path} is a folder, and a file is to be written; choose another name")
    if not place.is_file():
        raise InputError(f"{path} is no regular file, so it is not replaced; choose another name")
    record = _recorded(place.parent)
    if force or record.owns(place.name, place):
        return
    known = {**record.folder, **record.files}
    what = "was changed since mnedge wrote it" if place.name in known else "exists, and mnedge did not write it"
    raise InputError(f"{path} {what}, so it is not replaced; {_FORCE} to replace it")


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


def _sweep(path: Path) -> None:
    """Removes the leftovers of a killed program beside `path`; young ones may be another program's work under way."""
    start = temporary(path).name[: -len(secrets.token_hex(8))]
    with suppress(OSError):
        for left in path.parent.iterdir():
            if not left.name.startswith(start) or not is_scratch(left.name):
                continue
            with suppress(OSError):
                if time.time() - left.lstat().st_mtime <= _ABANDONED_S:
                    continue
                if left.is_symlink() or not left.is_dir():
                    left.unlink()
                elif not any(_strangers(left / _OLD, _recorded(left / _OLD).kind)):
                    shutil.rmtree(left)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
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


def _is_fixed(place: Path) -> bool:
    """Returns whether a folder cannot be renamed safely: a mount, or the current folder of the user."""
    # `os.path.ismount`, since `Path.is_mount` fails where somebody else is just replacing the folder.
    return place.is_dir() and (os.path.ismount(place) or place == Path.cwd() or place in Path.cwd().parents)


def _take_place(scratch: Path, place: Path, path: Path, *, kind: Kind, force: bool) -> None:
    """Puts `scratch` in the place of an older folder, or its files into that folder."""
    if not os.path.lexists(place):
        scratch.rename(place)
        return
    stranger = next(_strangers(place, kind), None)
    if stranger is not None and not force:
        raise _occupied(path, *stranger)
    if stranger is None and _holds_the_same(place, scratch):
        # The same files already: who reads them meanwhile, such as another build that ships them, is not disturbed.
        return
    if stranger is not None or _is_fixed(place):
        _merge(scratch, place, path, kind)
        return
    scratch.chmod(stat.S_IMODE(place.stat().st_mode))
    aside = temporary(place)
    aside.mkdir()
    place.rename(aside / _OLD)
    # Nobody can add to it by its name any more: what came since the look above is seen now, and put back.
    stranger = next(_strangers(aside / _OLD, kind), None)
    if stranger is not None:
        (aside / _OLD).rename(place)
        aside.rmdir()
        raise _occupied(path, *stranger)
    try:
        _keep_delivered(aside / _OLD, scratch)
    except BaseException:
        (aside / _OLD).rename(place)
        aside.rmdir()
        raise
    scratch.rename(place)
    shutil.rmtree(aside, ignore_errors=True)


def _holds_the_same(place: Path, scratch: Path) -> bool:
    """Returns whether a folder is already what would take its place, apart from files delivered into it."""
    old, new = _recorded(place), _recorded(scratch)
    delivered = old.files.keys() - old.folder.keys()
    return replace(old, files={}) == new and set(_names(place)) - delivered == set(_names(scratch))


def _keep_delivered(old: Path, new: Path) -> None:
    """Takes files that were delivered one by one along from an older folder, where the new one has none of the name."""
    record, made = _recorded(old), _recorded(new)
    # A record may come from somebody else: only files that lie in the folder are taken.
    names = (name for name in _names(old) if name in record.files and name not in made.folder)
    kept = {name: record.files[name] for name in names if "/" not in name}
    for name in kept:
        try:
            os.link(old / name, new / name, follow_symlinks=False)
        except OSError:
            # Not every file system has hard links.
            shutil.copy2(old / name, new / name, follow_symlinks=False)
    if kept:
        write_text(new / RECORD, replace(made, files=kept).text)


def _merge(scratch: Path, place: Path, path: Path, kind: Kind) -> None:
    """Moves the files of `scratch` into a folder whose other files stay; mnedge's own, unchanged old ones go."""
    made = _recorded(scratch)
    for name in made.folder:
        _check_way(place, name, path)
    with _locked(place):
        old = _recorded(place)
        arrived = {name: value for name, value in old.coming.items() if old.kind and old.owns(name, place / name)}
        old = replace(old, folder={**old.folder, **arrived}, coming={})
        whole = old.folder if old.kind == kind else {}
        _note(place, replace(old, coming=made.folder))
        for name in made.folder:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                (place / name).mkdir(exist_ok=True)
            else:
                (scratch / name).replace(place / name)
        for name in whole.keys() - made.folder.keys():
            if not name.endswith("/") and old.owns(name, place / name):
                (place / name).unlink()
                _drop_empty((place / name).parent, place)
        files = {name: value for name, value in old.files.items() if name not in made.folder}
        _note(place, replace(made, files=files))


def _check_way(place: Path, name: str, path: Path) -> None:
    """Makes sure that only a regular file is replaced by a file, and that no link leads out of the folder."""
    target = place / name
    above = [parent for parent in target.parents if place in parent.parents]
    for parent in above:
        if os.path.lexists(parent) and (parent.is_symlink() or not parent.is_dir()):
            raise InputError(f"{parent} is no folder, and {path} is to hold {name}; choose another place")
    if not name.endswith("/") and os.path.lexists(target) and (target.is_symlink() or not target.is_file()):
        raise InputError(f"{target} is no regular file, so it is not replaced; choose another place")


def _drop_empty(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


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
