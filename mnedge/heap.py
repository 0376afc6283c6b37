"""Memory that is free, but that the C library keeps for the process."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# glibc's name of the size from which a block gets pages of its own, and the largest that it comes to by itself.
_MMAP_THRESHOLD, _LARGEST_THRESHOLD = -3, 32 << 20
_LARGE = 2 << 20


def give_back() -> None:
    """Gives freed memory back to the system.

    glibc keeps it where anything above it is in use, and TensorFlow's many threads have a heap each: after a stage
    a tenth of a gigabyte lies there, which the next one does not always find again. Elsewhere this does nothing.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def large_blocks_apart() -> Iterator[None]:
    """Gives blocks of 2 MiB and more pages of their own, so that the system has them back when they are freed.

    glibc raises that size up to 32 MiB as blocks are freed, after which the arrays of a layer lie between small blocks
    that outlive them. Elsewhere this does nothing.
    """
    _set_threshold(_LARGE)
    try:
        yield
    finally:
        _set_threshold(_LARGEST_THRESHOLD)


def _set_threshold(size: int) -> None:
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, size)
