"""Archives whose bytes depend on their contents alone: sorted, fixed modes and times, nothing deflated.

Deflate is left out because zlib's output differs between its versions; int8 weights hardly shrink anyway.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import time
import zipfile
import zlib
from typing import TYPE_CHECKING

from mnedge.artifact import files_of
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_DOS_EPOCH = 315532800  # 1980-01-01, the first day that ZIP can say
_BLOCK = 0xFFFF
_EXECUTABLE = (".sh",)


def epoch() -> int:
    """Seconds since 1970 that archives are dated with: $SOURCE_DATE_EPOCH, or 1980-01-01.

    Raises:
        InputError: The variable is no number.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not text.isdecimal():
        raise InputError(f"SOURCE_DATE_EPOCH is {text!r}; it takes seconds since 1970")
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


def tar_gz_bytes(folder: Path, top: str) -> bytes:
    """A .tar.gz of a folder's files, below the name `top`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in files_of(folder):
            data = path.read_bytes()
            entry = tarfile.TarInfo(f"{top}/{path.relative_to(folder).as_posix()}")
            entry.size = len(data)
            entry.mode = 0o755 if data.startswith(b"#!") or path.suffix in _EXECUTABLE else 0o644
            entry.mtime = epoch()
            archive.addfile(entry, io.BytesIO(data))
    return _gzip_stored(buffer.getvalue())


def _gzip_stored(data: bytes) -> bytes:
    """RFC 1952 around RFC 1951 stored blocks."""
    parts = [struct.pack("<4sIBB", b"\x1f\x8b\x08\x00", epoch(), 0, 255)]
    for start in range(0, max(len(data), 1), _BLOCK):
        block = data[start : start + _BLOCK]
        is_last = start + _BLOCK >= len(data)
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF))
    return b"".join(parts)
