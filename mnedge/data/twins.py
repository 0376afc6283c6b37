"""Pictures that are the same picture: copies, other sizes, other compression, other light, mirrored.

Candidates have nearly the same perceptual hash (https://www.phash.org); since short hashes also meet by chance, a pair
counts only where the small grey pictures themselves agree, and agree more than look-alikes of that data set do: digits
and icons resemble each other without being copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMB = 32
_LOW = 8
_MAX_BITS = 12
_MIN_CORRELATION = 0.9
# A copy differs from its original far less than the fifth nearest picture does: the ratio test of
# https://doi.org/10.1023/B:VISI.0000029664.99615.94, section 7.1, with room for several copies. Any number may be alike
# where nothing but compression parts them.
_MAX_RATIO = 0.15
_ALIKE_RANK = 4
_SURE_CORRELATION = 0.995
_CHUNK = 512
# A picture of one colour looks like every other one.
_FLAT = 2.0


@dataclass(frozen=True)
class Twins:
    """Two pictures that are one.

    Attributes:
        first: Place in the first set.
        second: Place in the second set.
        correlation: Correlation of the grey thumbnails, at most 1.
        is_mirrored: Whether one picture mirrors the other.
    """

    first: int
    second: int
    correlation: float
    is_mirrored: bool


def thumbnails(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Small grey pictures, float32, (n, 32, 32), 0..255, of uint8 pictures (n, side, side, 3)."""
    from PIL import Image

    size = (THUMB, THUMB)
    made = np.zeros((len(pixels), *size), np.float32)
    for place, picture in enumerate(pixels):
        made[place] = np.asarray(Image.fromarray(picture).convert("L").resize(size, Image.Resampling.BOX), np.float32)
    return made


def is_flat(thumbs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which thumbnails show nothing: their standard deviation is below 2 of 255 grey levels."""
    return np.asarray(thumbs.std(axis=(1, 2)) < _FLAT)


def hashes(thumbs: NDArray[np.float32]) -> NDArray[np.uint64]:
    """64-bit perceptual hashes: which of the 8 x 8 lowest frequencies lie above their median, uint64, (n,)."""
    place = np.arange(THUMB)
    cosines = np.cos(np.pi * np.outer(np.arange(_LOW), 2 * place + 1) / (2 * THUMB)).astype(np.float32)
    frequencies = (cosines @ thumbs @ cosines.T).reshape(len(thumbs), _LOW * _LOW)
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def twins(first: NDArray[np.float32], second: NDArray[np.float32]) -> list[Twins]:
    """Finds pictures of one set in another.

    Args:
        first: Thumbnails, float32, (n, 32, 32).
        second: Thumbnails, float32, (m, 32, 32).

    Returns:
        Pairs, by their place in the first set and then the second; each place of the first set at most once a place
        of the second.
    """
    found: dict[tuple[int, int], Twins] = {}
    own, flat = hashes(first), (is_flat(first), is_flat(second))
    units = _units(first)
    for is_mirrored in (False, True):
        theirs = second[:, :, ::-1] if is_mirrored else second
        their_hashes, their_units = hashes(theirs), _units(theirs)
        for start in range(0, len(own), _CHUNK):
            bits = _distances(own[start : start + _CHUNK], their_hashes)
            for row, column in zip(*np.nonzero(bits <= _MAX_BITS), strict=True):
                pair = (start + int(row), int(column))
                if flat[0][pair[0]] or flat[1][pair[1]] or pair in found:
                    continue
                correlation = float(units[pair[0]] @ their_units[pair[1]])
                if correlation >= _MIN_CORRELATION and _stands_out(correlation, their_units @ units[pair[0]]):
                    found[pair] = Twins(*pair, correlation, is_mirrored)
    return [found[pair] for pair in sorted(found)]


def _stands_out(correlation: float, all_correlations: NDArray[np.float32]) -> bool:
    """Returns whether a picture is nearer than those that merely look alike."""
    if correlation >= _SURE_CORRELATION or all_correlations.size <= _ALIKE_RANK:
        return True
    alike = float(-np.partition(-all_correlations, _ALIKE_RANK)[_ALIKE_RANK])
    return 1 - correlation <= _MAX_RATIO * (1 - alike)


def _units(thumbs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Thumbnails as vectors of mean 0 and length 1: their product is the correlation."""
    flat = thumbs.reshape(len(thumbs), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), np.float32)


def _distances(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Hamming distances of hashes, uint8, (n, m)."""
    words = (first[:, None] ^ second[None, :]).view(np.uint16)
    return np.asarray(_ONES[words].reshape(len(first), len(second), 4).sum(axis=2), np.uint8)


_ONES = np.array([word.bit_count() for word in range(1 << 16)], np.uint8)
