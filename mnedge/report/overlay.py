"""Annotations and predictions drawn into a picture: masks as colours, boxes as frames."""

from __future__ import annotations

import base64
import colorsys
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import ImageDraw

    from mnedge.untyped import AnyInts

_OPACITY = 0.55
_BACKGROUND = 0
_GAP = 4
_FRAME = 2
# Share of the shorter side: width of frames and height of letters, and no less than so many pixels.
_FRAMES, _LETTERS, _LEAST_LETTERS = 200, 24, 10


def colour_of(index: int) -> tuple[int, int, int]:
    """A colour for a class, 0..255; neighbours differ, since the golden angle parts their hues."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + 0.381966 * index) % 1.0, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def with_mask(pixels: NDArray[np.uint8], mask: AnyInts, ignored: int) -> NDArray[np.uint8]:
    """Lays a mask over a picture; class 0, the background, stays as it is, and ignored pixels turn grey.

    Args:
        pixels: uint8, (H, W, 3).
        mask: Class indices, (H, W).
        ignored: The index of pixels that do not count.
    """
    colours = np.array([colour_of(index) for index in range(256)], np.float32)
    colours[ignored] = 128
    shown = pixels.astype(np.float32)
    marked = mask != _BACKGROUND
    shown[marked] += _OPACITY * (colours[mask[marked]] - shown[marked])
    return shown.round().astype(np.uint8)


def with_frames(
    pixels: NDArray[np.uint8], corners: NDArray[np.float32], classes: NDArray[np.int64], words: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Draws boxes into a picture, each in the colour of its class.

    Args:
        pixels: uint8, (H, W, 3).
        corners: float32, (n, 4): y1, x1, y2, x2 in fractions of the picture.
        classes: int64, (n,).
        words: Text in the corner of each box; () for none.
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    height, width = pixels.shape[:2]
    line = max(_FRAME, min(height, width) // _FRAMES)
    for place, ((y1, x1, y2, x2), index) in enumerate(zip(corners.tolist(), classes.tolist(), strict=True)):
        ends = (x1 * width, y1 * height, max(x2 * width - 1, x1 * width), max(y2 * height - 1, y1 * height))
        draw.rectangle(ends, outline=colour_of(index), width=line)
        if words:
            _write(draw, (ends[0] + line, ends[1] + line), words[place], colour_of(index))
    return np.asarray(picture)


def with_words(
    pixels: NDArray[np.uint8], words: Sequence[str], grounds: Sequence[tuple[int, int, int]] = ()
) -> NDArray[np.uint8]:
    """Writes lines into the upper left corner of a picture.

    Args:
        pixels: uint8, (H, W, 3).
        words: The lines.
        grounds: Colour behind each; () for white.
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    top = 0.0
    for place, word in enumerate(words):
        top = _write(draw, (0.0, top), word, grounds[place] if grounds else (255, 255, 255))
    return np.asarray(picture)


def _write(draw: ImageDraw.ImageDraw, place: tuple[float, float], words: str, ground: tuple[int, int, int]) -> float:
    """Writes a line in black on a ground, and gives where it ends below, pixels."""
    from PIL import ImageFont

    # Readable in a picture of any size.
    font = ImageFont.load_default(max(_LEAST_LETTERS, min(draw.im.size) // _LETTERS))
    left, _, right, bottom = draw.textbbox(place, words, font=font)
    draw.rectangle((left, place[1], right, bottom), fill=ground)
    draw.text(place, words, fill=(0, 0, 0), font=font)
    return float(bottom)


def side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one height, uint8 (H, W, 3), beside each other with a white gap."""
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(parts[1:], axis=1)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """A picture, uint8 (H, W, 3), as JPEG in a data URI, so that a page needs no other file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
