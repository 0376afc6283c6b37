"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import psutil
import pytest

from mnedge import heap

_SMALL, _COUNT = 60_000, 2_000


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_freed_memory_below_a_piece_in_use_goes_back() -> None:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        pytest.skip("this C library has no malloc_trim")
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    pieces = [libc.malloc(_SMALL) for _ in range(_COUNT)]
    for piece in pieces:
        ctypes.memset(piece, 1, _SMALL)
    # The last one stays, so that what lies below it cannot go by itself.
    for piece in pieces[:-1]:
        libc.free(piece)
    before = psutil.Process().memory_info().rss
    heap.give_back()
    assert before - psutil.Process().memory_info().rss > 0.8 * _SMALL * _COUNT
    libc.free(pieces[-1])


# In a process of its own: in one that has freed much, blocks come from what is free already.
_LARGE_BLOCKS = """
import ctypes, sys
from contextlib import nullcontext
import psutil
from mnedge import heap
libc = ctypes.CDLL(None)
if not hasattr(libc, "mallopt"):
    sys.exit(77)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
size, count = 4 << 20, 30
# Freed once, a block raises the size from which glibc gives pages of their own.
libc.free(libc.malloc(31 << 20))
with heap.large_blocks_apart() if sys.argv[1] == "apart" else nullcontext():
    large, small = zip(*((libc.malloc(size), libc.malloc(60_000)) for _ in range(count)))
    for block in large:
        ctypes.memset(block, 1, size)
    before = psutil.Process().memory_info().rss
    for block in large:
        libc.free(block)
    print((before - psutil.Process().memory_info().rss) / (size * count))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_freed_large_blocks_go_back_though_small_ones_above_them_stay() -> None:
    shares = []
    for how in ("apart", "as they come"):
        done = subprocess.run(
            [sys.executable, "-c", _LARGE_BLOCKS, how], capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode == 77:
            pytest.skip("this C library has no mallopt")
        assert done.returncode == 0, done.stderr
        shares.append(float(done.stdout))
    assert shares[0] > 0.9
    assert shares[1] < 0.5


def test_a_c_library_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    heap.give_back()
    with heap.large_blocks_apart():
        heap.give_back()
