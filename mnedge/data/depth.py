"""Pictures of more than 8 bits a channel: which value is white, once for the whole data set."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.preprocess import WHITE, is_deep, opened
from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Formats that hold more than 8 bits a channel.
_SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".ppm")
# Fractions, 8, 10, 12, 14 and 16 bits.
_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, WHITE)
# Least value of the upper 8 bits; 14 bits of 16 reach it.
_LEAST_UPPER = 32


def white_of(files: Sequence[Path]) -> tuple[float, tuple[Finding, ...]]:
    """Finds which value of deep pictures becomes white: the highest of the bits that all of them together use.

    Args:
        files: The pictures of a data set.

    Returns:
        The value, and what is said of it; nothing where no picture is deep.

    Raises:
        InputError: The pictures are of 16-bit colours and would all come out black.
    """
    candidates = [file for file in files if file.suffix.lower() in _SUFFIXES and is_file(file) and _may_be_deep(file)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        highest = list(pool.map(_highest, candidates))
    found = [(file, *own) for file, own in zip(candidates, highest, strict=True) if own is not None]
    colours = [(file, value) for file, value, is_colour in found if is_colour]
    if colours and max(value for _, value in colours) < _LEAST_UPPER:
        raise InputError(
            f"{colours[0][0]} and {len(colours) - 1} others have colours of 16 bits of which the upper ones are not "
            "used, and Pillow reads only the upper 8: they would be black; convert the pictures to 8 bits"
        )
    deep = [(file, value) for file, value, is_colour in found if not is_colour]
    if not deep:
        return WHITE, ()
    most = max(value for _, value in deep)
    white = next((value for value in _WHITES if most <= value), most)
    told = f"{white:,.0f} becomes white in all of them, as their highest value is {most:,.0f}"
    return white, (Finding(f"pictures have more than 8 bits; {told}", tuple(file.name for file, _ in deep)),)


def _may_be_deep(file: Path) -> bool:
    """Returns whether a file is a PNG of 16 bits, or of a format that only opening shows."""
    if file.suffix.lower() != ".png":
        return True
    try:
        with file.open("rb") as stream:
            # The byte of the bit depth (https://www.w3.org/TR/png/#11IHDR).
            return stream.read(25)[24:] == b"\x10"
    except OSError:
        return False


def _highest(file: Path) -> tuple[float, bool] | None:
    """The highest value of a deep picture, and whether it is of colours of which only the upper 8 bits are read.

    None for others and for those that cannot be read.
    """
    try:
        with opened(file) as image:
            if not is_deep(image):
                is_colour = file.suffix.lower() == ".png" and image.mode in ("RGB", "RGBA")
                return (float(np.asarray(image).max(initial=0)), True) if is_colour else None
            values = np.asarray(image, np.float32)
    except InputError:
        # A fault of the file is reported where the file is needed.
        return None
    return float(values[np.isfinite(values)].max(initial=0.0)), False
