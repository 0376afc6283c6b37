"""Exchange between a child process and its parent: messages over two pipes, arrays in one file of memory."""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnedge.runtimes._runtime import TensorSpec
    from mnedge.untyped import AnyArray

# dtype and shape of an array: JSON, which the other process of this same code has written.
Kind: TypeAlias = "Sequence[Any]"

LENGTH = struct.Struct("<I")
# A message names tensors and carries no values; a graph of a thousand outputs has some dozens of KiB.
LARGEST_MESSAGE = 64 << 20
_ALIGNMENT = 64


def packed(message: dict[str, object]) -> bytes:
    """A message as it goes over a pipe: its length in four bytes, then JSON."""
    data = json.dumps(message).encode()
    return LENGTH.pack(len(data)) + data


def kinds_of(arrays: Iterable[AnyArray]) -> list[list[object]]:
    """The dtype and shape of each array, as JSON values."""
    return [[array.dtype.name, list(array.shape)] for array in arrays]


class SharedArrays:
    """Arrays of two processes in one file without a name, one behind the other; it grows and never shrinks.

    Args:
        descriptor: Descriptor of the file; both sides have one.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None
        self._size = 0

    def write(self, start: int, arrays: Iterable[AnyArray]) -> int:
        """Copies arrays in, the first one at a byte offset; returns the offset after the last one."""
        listed = list(arrays)
        end = start + sum(_room(array.nbytes) for array in listed)
        self._reach(end)
        for array in listed:
            self._view(start, array.dtype, array.shape)[...] = array
            start += _room(array.nbytes)
        return end

    def read(self, start: int, kinds: Sequence[Kind]) -> tuple[list[AnyArray], int]:
        """Views of arrays that the other side wrote, and the offset after the last one.

        Args:
            start: Byte offset of the first one.
            kinds: As `kinds_of` gives them.
        """
        views = []
        wanted = [(np.dtype(dtype), tuple(int(extent) for extent in shape)) for dtype, shape in kinds]
        sizes = [_room(dtype.itemsize * math.prod(shape)) for dtype, shape in wanted]
        self._reach(start + sum(sizes))
        for (dtype, shape), size in zip(wanted, sizes, strict=True):
            views.append(self._view(start, dtype, shape))
            start += size
        return views, start

    def _view(self, start: int, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> AnyArray:
        if 0 in shape:
            return np.empty(shape, dtype)
        assert self._map is not None
        return np.ndarray(shape, dtype, self._map, start)

    def _reach(self, size: int) -> None:
        """Maps the file's first bytes; views of an older map stay good."""
        if size <= self._size:
            return
        if os.fstat(self._descriptor).st_size < size:
            os.ftruncate(self._descriptor, size)
        self._map, self._size = mmap.mmap(self._descriptor, size), size


def told(spec: TensorSpec) -> dict[str, object]:
    """An input or output as JSON values."""
    found = spec.quantization
    return {
        "name": spec.name,
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "scale": None if found is None else float(found.scale[0]),
        "zero_point": None if found is None else int(found.zero_point[0]),
    }


def _room(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
