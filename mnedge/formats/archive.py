"""ZIP archives: written so that their bytes depend on their contents alone, and read within limits.

Nothing is deflated when writing, because zlib's output differs between its versions; int8 weights hardly shrink anyway.
"""

from __future__ import annotations

import io
import lzma
import os
import struct
import time
import zipfile
import zlib
from typing import TYPE_CHECKING

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOS_EPOCH = 315532800  # 1980-01-01, the first day that ZIP can say
_LAST_EPOCH = 4354819199  # 2107-12-31, the last one
# The end of a ZIP: its record of 22 bytes and a comment of at most 65,535.
_END, _END_BYTES, _COMMENT_BYTES = b"PK\x05\x06", 22, 0xFFFF
_ASSOCIATED_FILES = 64
_ASSOCIATED_BYTES = 64 << 20
# Weights hardly shrink, and configurations repeat themselves.
_MOST_SHRUNK = 100
_FREE_BYTES = 64 << 20
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, ValueError, RuntimeError,
    NotImplementedError, EOFError, IndexError,
)  # fmt: skip


def epoch() -> int:
    """Seconds since 1970 that archives are dated with: $SOURCE_DATE_EPOCH, or 1980-01-01.

    Raises:
        InputError: The variable is no number.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not (text.isdecimal() and len(text) <= 10 and int(text) <= _LAST_EPOCH):
        raise InputError(f"SOURCE_DATE_EPOCH is {text[:20]!r}; it takes seconds since 1970, at most {_LAST_EPOCH}")
    return max(int(text or 0), _DOS_EPOCH)


def zip_bytes(entries: Mapping[str, bytes], behind: bytes = b"") -> bytes:
    """A ZIP of stored entries in the order of their names.

    Args:
        entries: Contents by path.
        behind: Bytes that the ZIP is appended to, as TFLite Metadata appends a model's labels.
    """
    buffer = io.BytesIO(behind)
    moment = time.gmtime(epoch())[:6]
    with zipfile.ZipFile(buffer, "a" if behind else "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, moment)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def read_member(archive: zipfile.ZipFile, name: str, most_bytes: int, source: str) -> bytes:
    """The contents of one member of an archive, read up to a limit whatever its header says.

    Raises:
        InputError: The member is missing, larger than `most_bytes`, damaged, or far larger than what is stored of it.
    """
    try:
        stored = archive.getinfo(name).compress_size
        most = min(most_bytes, max(_FREE_BYTES, _MOST_SHRUNK * stored))
        with archive.open(name) as stream:
            data = stream.read(most + 1)
    except KeyError as exc:
        raise InputError(f"{source} holds no {name}; save or copy it again") from exc
    except DAMAGE as exc:
        raise InputError(f"{name} in {source} is cut short or damaged ({exc}); save or copy it again") from exc
    if most < len(data) <= most_bytes:
        raise InputError(
            f"{name} in {source} unpacks to more than {_MOST_SHRUNK} times the {stored:,} bytes that are stored of it; "
            "save or copy it again"
        )
    if len(data) > most_bytes:
        raise InputError(f"{name} in {source} is larger than {most_bytes:,} bytes, the limit for such a member")
    return data


def read_associated(data: bytes, source: str) -> dict[str, bytes]:
    """Returns the files in the ZIP behind a .tflite, by name in the ZIP's order; {} without a ZIP.

    Args:
        data: The whole file.
        source: Its name in errors.

    Raises:
        InputError: The ZIP is damaged, or holds more than 64 files or 64 MiB.
    """
    end = data.rfind(_END, max(0, len(data) - _END_BYTES - _COMMENT_BYTES))
    # Weights may hold these four bytes: a record whose comment does not reach the end of the file is no record.
    if end < 0 or end + _END_BYTES + int.from_bytes(data[end + 20 : end + 22], "little") != len(data):
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(members) > _ASSOCIATED_FILES:
                raise InputError(
                    f"{source} carries {len(members)} associated files; at most {_ASSOCIATED_FILES} are read"
                )
            found: dict[str, bytes] = {}
            left = _ASSOCIATED_BYTES
            for entry in members:
                found[entry.filename] = read_member(archive, entry.filename, left, source)
                left -= len(found[entry.filename])
    except DAMAGE as exc:
        raise InputError(
            f"the associated files behind the model in {source} are cut short or damaged ({exc}); copy it again"
        ) from exc
    return found
