"""Plain files: atomic writes, sizes and checksums.

`write_bytes`, `write_text` and `copy` are for the cache and for scratch folders, which are mnedge's alone; a file of
the user's is written by `artifact.deliver`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.text import utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

# The record of who wrote the files of a folder; it counts neither for sizes nor for checksums.
RECORD = ".mnedge.json"
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_MARK = ".mnedge-tmp-"
_TEMPORARY = re.compile(r"\..*\.mnedge-tmp-[0-9a-f]{16}", re.DOTALL)
_ABANDONED_S = 3600.0
_LONGEST_NAME_BYTES = 255


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


def copy(source: Path, path: Path) -> None:
    """Copies a file to a place in the cache or in a scratch folder, whole or not at all."""
    write_bytes(path, source.read_bytes())


def temporary(path: Path) -> Path:
    """A new name beside `path` that is mnedge's alone, no longer than a name may be."""
    ending = f"{_MARK}{secrets.token_hex(8)}"
    kept = os.fsencode(path.name)[: _LONGEST_NAME_BYTES - len(ending) - 1]
    return path.with_name(f".{os.fsdecode(kept)}{ending}")


def is_scratch(name: str) -> bool:
    """Returns whether mnedge gives such names to files that it is writing."""
    return _TEMPORARY.fullmatch(name) is not None


def leftovers(path: Path) -> Iterator[Path]:
    """Scratch files and folders of killed programs beside `path`; young ones may be another program's, under way."""
    start = temporary(path).name[: -len(secrets.token_hex(8))]
    with suppress(OSError):
        for left in path.parent.iterdir():
            if left.name.startswith(start) and is_scratch(left.name) and _is_abandoned(left):
                yield left


def _is_abandoned(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > _ABANDONED_S
    return False


def _sweep(path: Path) -> None:
    for left in leftovers(path):
        if left.is_symlink() or not left.is_dir():
            with suppress(OSError):
                left.unlink()


def own_folder(kind: str, root: str | Path) -> Path:
    """Makes a temporary folder that names its process, and removes those of this user's processes that were killed.

    Args:
        kind: What it is for, as a part of its name.
        root: Folder that it lies in.
    """
    start = f"mnedge-{kind}-"
    for left in Path(root).glob(f"{start}*-*"):
        # No other than the names and modes that mkdtemp gives below.
        own = re.fullmatch(rf"{start}(\d{{1,10}})-[a-z0-9_]{{8}}", left.name)
        try:
            about = left.lstat()
            if own and about.st_uid == os.getuid() and about.st_mode == stat.S_IFDIR | 0o700:
                os.kill(int(own[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix=f"{start}{os.getpid()}-", dir=root))
