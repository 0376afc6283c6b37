"""Decodes the pictures of a split once, into one array on disk."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.data.preprocess import Size

_SHOWN = 5


def gather(
    dataset: Dataset, numbers: NDArray[np.int64], size: Size, path: Path, told: Callable[[float], None]
) -> NDArray[np.int64]:
    """Decodes pictures into an .npy file: uint8, (n, height, width, 3).

    Args:
        dataset: Data set of the pictures.
        numbers: Numbers of the pictures.
        size: Size of the pictures as they are kept: side of a square, or height and width, pixels.
        path: The file to write.
        told: Called with the share that is done, 0..1.

    Returns:
        The numbers of the pictures in the file: without the broken ones, where the data set skips these.

    Raises:
        InputError: Pictures are broken; the message names several, not only the first.
    """
    kept: list[int] = []
    broken: list[str] = []
    with path.with_suffix(".raw").open("wb") as stream:
        for start in range(0, numbers.size, 256):
            part = numbers[start : start + 256]
            try:
                read = list(dataset.stream(part, size))
            except InputError:
                read, reasons = _one_by_one(dataset, part, size)
                broken += reasons
            for number, pixels in read:
                kept.append(number)
                stream.write(pixels.tobytes())
            told((start + part.size) / numbers.size)
    if broken and not dataset.skip_broken:
        raise InputError(_broken(dataset.name, numbers.size, broken))
    with path.open("wb") as stream, path.with_suffix(".raw").open("rb") as raw:
        _begin(stream, (len(kept), *((size, size) if isinstance(size, int) else size), 3))
        while chunk := raw.read(1 << 22):
            stream.write(chunk)
    path.with_suffix(".raw").unlink()
    return np.array(kept, np.int64)


def save(path: Path, array: NDArray[np.int64]) -> None:
    """Writes an .npy file; `np.save` into a file itself drops the reason where the disk is full."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getvalue())


def gather_masks(
    dataset: Dataset, numbers: NDArray[np.int64], side: int, path: Path, told: Callable[[float], None]
) -> None:
    """Reads the masks of pictures into an .npy file: uint8, (n, side, side).

    Args:
        dataset: Its `truths` are masks.
        numbers: Numbers of the pictures.
        side: Side of the masks as they are kept, pixels.
        path: The file to write.
        told: Called with the share that is done, 0..1.

    Raises:
        InputError: A mask cannot be used; the message says why.
    """
    truths = dataset.truths
    assert truths is not None, dataset.name
    with path.open("wb") as stream, ThreadPoolExecutor() as pool:
        _begin(stream, (numbers.size, side, side))
        for place, mask in enumerate(pool.map(lambda number: truths(number, side), numbers.tolist()), start=1):
            stream.write(mask.tobytes())
            told(place / numbers.size)


def _begin(stream: BinaryIO, shape: tuple[int, ...]) -> None:
    """Writes an .npy's head by hand: a mapped file that outgrows the disk would kill the process instead of raising."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _one_by_one(
    dataset: Dataset, numbers: NDArray[np.int64], size: Size
) -> tuple[list[tuple[int, NDArray[np.uint8]]], list[str]]:
    read, reasons = [], []
    for number in numbers.tolist():
        try:
            read.append((number, dataset.read(number, size)))
        except InputError:
            reasons.append(dataset.sources[number])
    return read, reasons


def _broken(name: str, count: int, broken: list[str]) -> str:
    shown = ", ".join(broken[:_SHOWN]) + (f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else "")
    return (
        f"{name}: {len(broken)} of {count} pictures are broken or not pictures ({shown}); "
        "remove them, or pass --skip-broken to leave them out"
    )
