"""Seeded damage: of bytes, of text, of nested JSON, and of ONNX graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def one(rng: np.random.Generator, values: Sequence[Any]) -> Any:  # noqa: ANN401 - whatever is in there
    """One of some values."""
    return values[int(rng.integers(len(values)))]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to eight bytes or words changed, or cut short."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        place = int(rng.integers(len(found)))
        way = int(rng.integers(4))
        if way == 0:
            found[place] ^= 1 << int(rng.integers(8))
        elif way == 1:
            found[place] = int(rng.choice([0, 1, 2, 127, 128, 255]))
        elif way == 2:
            word = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            found[place : place + 4] = word.to_bytes(4, "little")[: len(found) - place]
        elif rng.random() < 0.1:
            del found[place:]
            found += b"\0"
    return bytes(found)
