"""Files that leave the program: written beside their place and renamed, never seen half done."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ABANDONED_S = 3600.0
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
# The class names of a build, one a line.
LABELS = "labels.txt"
Format = Literal["tflite", "onnx", "c"]
Precision = Literal["fp32", "int8"]
Io = Literal["float32", "int8", "uint8"]


@dataclass(frozen=True)
class Artifact:
    """One file (or folder of C sources) that `build` made.

    Attributes:
        path: Where it is.
        format: What it is.
        precision: What its arithmetic is done in.
        io: dtype of its input and output.
        target: Name of the target that it was made for.
    """

    path: Path
    format: Format
    precision: Precision
    io: Io
    target: str

    def row(self) -> dict[str, object]:
        """The row of report.json: {path, format, precision, io, target, bytes, sha256}."""
        return {
            "path": self.path.name,
            "format": self.format,
            "precision": self.precision,
            "io": self.io,
            "target": self.target,
            "bytes": size_bytes(self.path),
            "sha256": sha256(self.path),
        }


def size_bytes(path: Path) -> int:
    """Size of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def sha256(path: Path) -> str:
    """Checksum of a file, or of a folder's sorted file names and contents."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def file_row(path: Path) -> dict[str, object]:
    """The row of a manifest: {path, bytes, sha256}; the path is the file's name."""
    return {"path": path.name, "bytes": size_bytes(path), "sha256": sha256(path)}


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        InputError: The folder cannot be written, or the disk is full.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file with newline endings, whole or not at all."""
    write_bytes(path, text.encode())


def copy(source: Path, path: Path) -> None:
    """Copies a file to its place, whole or not at all."""
    write_bytes(path, source.read_bytes())


def copy_folder(source: Path, path: Path) -> None:
    """Copies a folder to its place, whole or not at all."""
    with folder(path) as scratch:
        shutil.copytree(source, scratch, dirs_exist_ok=True)


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside `path` that takes its place when the block ends well.

    An older folder of that name is replaced; after an error nothing is left behind and the older one stays.

    Raises:
        InputError: The parent cannot be written, or the disk is full.
    """
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield scratch
            scratch.chmod(0o755)
            _take_place(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Removes what a killed program left beside `path`; what is young may be another program's work under way."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _take_place(scratch: Path, path: Path) -> None:
    """Renames `scratch` to `path`; what is there goes aside first, also where another build puts it back meanwhile."""
    while True:
        try:
            scratch.rename(path)
        except OSError as exc:
            if exc.errno not in _OCCUPIED:
                raise
        else:
            return
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            path.rename(aside / "old")
        except FileNotFoundError:
            # The other build has just moved it aside itself.
            continue
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        advice = "choose another folder with --out, or free some space"
        raise InputError(f"{path} cannot be written: {exc.strerror or exc}; {advice}") from exc
