"""Memory that is free, but that the C library keeps for the process."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Gives freed memory back to the system.

    glibc keeps it where anything above it is in use, and TensorFlow's many threads have a heap each: after a stage
    a tenth of a gigabyte lies there, which the next one does not always find again. Elsewhere this does nothing.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
