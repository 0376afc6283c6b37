"""int4 in .tflite files: two values in a byte, the first one in the low four bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST, _MOST = -8, 7


def pack_int4(values: NDArray[np.int8]) -> bytes:
    """Packs int8 values of -8 … 7 in row-major order; an odd count ends with four bits of 0."""
    assert values.size == 0 or (values.min() >= _LEAST and values.max() <= _MOST), "int4 holds -8 … 7"
    nibbles = values.reshape(-1).view(np.uint8) & 0x0F
    nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.uint8))
    return (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8).tobytes()


def unpack_int4(data: bytes, count: int) -> NDArray[np.int8]:
    """Unpacks the first `count` values, int8, of packed bytes.

    Raises:
        ValueError: The bytes are more or fewer than `count` values need.
    """
    packed = np.frombuffer(data, np.uint8)
    if packed.size != (count + 1) // 2:
        raise ValueError(f"{count} int4 values need {(count + 1) // 2} bytes, not {packed.size}")
    pairs = np.stack([packed << 4, packed & 0xF0], axis=-1).reshape(-1)[:count]
    return pairs.view(np.int8) >> 4
