"""A .tar.gz whose bytes depend on its contents alone: sorted, fixed modes and times, nothing deflated.

Deflate is left out because zlib's output differs between its versions; int8 weights hardly shrink anyway.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from typing import TYPE_CHECKING

from mnedge.artifact import files_of
from mnedge.formats.archive import epoch

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 0xFFFF
_EXECUTABLE = (".sh",)


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
