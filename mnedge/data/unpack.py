"""Archives of data sets, unpacked into the cache."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from mnedge import cache
from mnedge.data.listing import is_junk
from mnedge.errors import InputError
from mnedge.files import sha256

_MOST_MEMBERS = 1_000_000
_MOST_BYTES = 200 << 30
# A picture or list packs to a hundredth at best; a bomb to a ten-thousandth.
_MOST_RATIO = 1000
_SMALL_BYTES = 64 << 20
_CHUNK = 1 << 20
_INNER = "data"


def is_archive(path: Path) -> bool:
    """Returns whether a file is a .zip."""
    return path.suffix.lower() == ".zip"


def unpacked(path: Path) -> Path:
    """Unpacks a .zip into the cache; returns the folder.

    Raises:
        InputError: It is no .zip, is encrypted, or a member would land elsewhere, is a link, or unpacks to too much.
    """
    try:
        digest = sha256(path)
        with zipfile.ZipFile(path) as archive:
            members = _checked(path, archive)
            total = sum(member.file_size for member in members)
            key = {"sha256": digest}
            # The cache keeps a file of its own in the folder.
            made = cache.stage(
                "unpacked", key, lambda folder: _unpack(path, archive, members, folder / _INNER), least_bytes=total
            )
            return made / _INNER
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, ValueError) as exc:
        raise InputError(
            f"{path} is no .zip that can be unpacked: {exc}; unpack it yourself and give the folder"
        ) from exc
    except OSError as exc:
        raise InputError(f"{path} cannot be unpacked: {exc.strerror or exc}") from exc


def _checked(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The members that are files of the data set."""
    every = archive.infolist()
    if len(every) > _MOST_MEMBERS:
        raise InputError(f"{path} has {len(every):,} members; at most {_MOST_MEMBERS:,} are unpacked")
    members, total = [], 0
    for member in every:
        parts = PurePosixPath(member.filename.replace("\\", "/")).parts
        if member.filename.startswith(("/", "\\")) or ".." in parts or (parts and ":" in parts[0]):
            raise InputError(f"{path}: its member {member.filename!r} would be written outside of the folder")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(f"{path}: its member {member.filename!r} is a link; pack the file itself")
        if member.flag_bits & 1:
            raise InputError(f"{path}: its member {member.filename!r} is encrypted; unpack it and give the folder")
        if member.is_dir() or any(map(is_junk, parts)):
            continue
        if member.file_size > max(_SMALL_BYTES, _MOST_RATIO * member.compress_size):
            raise InputError(
                f"{path}: its member {member.filename!r} grows from {member.compress_size:,} to {member.file_size:,} "
                "bytes, as no picture does; unpack it yourself if it is right"
            )
        total += member.file_size
        members.append(member)
    if total > _MOST_BYTES:
        raise InputError(f"{path} unpacks to {total:,} bytes; at most {_MOST_BYTES:,} are unpacked")
    if not members:
        raise InputError(f"{path} holds no files")
    return members


def _unpack(path: Path, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path) -> None:
    for member in members:
        place = folder.joinpath(*PurePosixPath(member.filename.replace("\\", "/")).parts)
        if place.exists():
            raise InputError(f"{path} has two members that are {member.filename!r}; pack it again")
        place.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, place.open("xb") as made:
            # Never more than the size that was checked.
            left = member.file_size
            while left > 0 and (chunk := source.read(min(_CHUNK, left))):
                made.write(chunk)
                left -= len(chunk)
