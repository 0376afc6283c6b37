"""A .tar.gz: written so that its bytes depend on its contents alone, not deflated, and read within limits.

Deflate is left out because zlib's output differs between its versions; int8 weights hardly shrink anyway.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO

from mnedge.errors import InputError
from mnedge.files import files_of
from mnedge.formats.archive import epoch

if TYPE_CHECKING:
    import gzip
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 0xFFFF
_LARGEST_BYTES = 1 << 30
_PIECE_BYTES = 1 << 20
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


def tar_members(stream: BinaryIO | gzip.GzipFile, source: str) -> Iterator[tuple[tarfile.TarInfo, Iterator[bytes]]]:
    """The files of a .tar, each with its contents in pieces, to be read before the next; nothing is kept.

    Args:
        stream: The .tar, read once from its start to its end, so that the checksum of a .gz around it is checked.
        source: Its name in errors.

    Raises:
        InputError: It holds anything else than files, or more than 1 GiB.
        EOFError: It is cut short.
    """
    left = _LARGEST_BYTES
    while (header := b"".join(_pieces(stream, tarfile.BLOCKSIZE))).strip(b"\0"):
        entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise InputError(f"{source}: {entry.name} is no plain file; a bundle has nothing else")
        left -= entry.size
        if entry.size < 0 or left < 0:
            raise InputError(f"{source} holds more than {_LARGEST_BYTES:,} bytes; no bundle is as large")
        contents = _pieces(stream, entry.size)
        yield entry, contents
        # The rest that was not read, and the padding of the last block.
        for _ in chain(contents, _pieces(stream, -entry.size % tarfile.BLOCKSIZE)):
            pass
    while piece := stream.read(_PIECE_BYTES):
        left -= len(piece)
        if left < 0 or piece.strip(b"\0"):
            raise InputError(f"{source} holds something behind its end, or more than {_LARGEST_BYTES:,} bytes")


def _pieces(stream: BinaryIO | gzip.GzipFile, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, _PIECE_BYTES))
        if not piece:
            raise EOFError("it is cut short")
        size -= len(piece)
        yield piece


def archive_path(out: Path) -> Path:
    """Returns the path of a bundle's .tar.gz, which lies beside the folder."""
    return out.with_name(f"{out.name}.tar.gz")
