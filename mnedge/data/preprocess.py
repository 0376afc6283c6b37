"""Picture file to 8-bit pixels: the one preprocessing of calibration, training and evaluation."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.data import heic
from mnedge.errors import InputError, last_line
from mnedge.foreign import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

# Side of a square, or height and width, in pixels.
Size = int | tuple[int, int]
Interpolation = Literal["nearest", "bilinear", "bicubic"]
Fit = Literal["crop", "stretch"]
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
FITS = ("crop", "stretch")
# Formats of photos, as Pillow names them. Its other readers are seldom tried, and that of EPS starts Ghostscript.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = (*heic.SUFFIXES, ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_FOREIGN = {
    b"%!PS": "EPS", b"\xc5\xd0\xd3\xc6": "EPS", b"%PDF": "PDF", b"<svg": "SVG", b"<?xml": "SVG", b"8BPS": "PSD",
    b"\0\0\1\0": "ICO", b"\0\0\0\x0cjP": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000", b"\0\0\0\x0cJXL": "JPEG XL",
    b"\xff\x0a": "JPEG XL", b"DDS ": "DDS", b"v/1\1": "OpenEXR",
}  # fmt: skip
_LIMIT = "MNEDGE_MAX_PIXELS"
# The end of messages that commands without this option leave out.
SKIP = ", or pass --skip-broken to leave such files out"
# 8192 x 8192, which takes 1 GB while transparency is flattened; the sensors of phones end below it or use JPEG.
_MOST_PIXELS = 1 << 26
_LONGEST_LIMIT = 12
# A JPEG above it is decoded at a fraction of its size, any other picture while no other such one is.
_LARGE_PIXELS = 1 << 24
_REDUCING_GAP = 2
_MAGIC_BYTES = 256
# Tag of EXIF, and its values that turn a picture by a quarter.
_ORIENTATION = 0x0112
_QUARTERS = (5, 6, 7, 8)
_OPENING = threading.Lock()
_LARGE = threading.RLock()
# Largest value of 16 bits.
WHITE = 65535.0


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of pictures; it belongs to the data set and travels with the artifact.

    Attributes:
        crop_fraction: Side of the centred square that is kept, as a share of the shorter side (of the largest part
            with the input's proportions, where that is no square); of the part that is kept of each side, where
            pictures are stretched.
        interpolation: Filter of the resize, with Pillow's antialiasing.
        fit: "crop" takes a part with the input's proportions out of the picture; "stretch" gives it these
            proportions, as detection and segmentation want it: nothing that is marked is lost.
        white: Value of pictures of more than 8 bits that becomes 255, the same for the whole data set.
    """

    crop_fraction: float = 0.875
    interpolation: Interpolation = "bilinear"
    fit: Fit = "crop"
    # Not in the text that checksums of calibration sets are made with, of which all but a few have 8 bits.
    white: float = field(default=WHITE, repr=False)


# For pictures with boxes or masks.
WHOLE = Preprocessing(1.0, "bilinear", "stretch")


def read_pixels(path: Path, size: Size, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decodes, turns upright (EXIF), crops and resizes one picture of any mode.

    Returns:
        uint8, (height, width, 3), RGB.

    Raises:
        InputError: The file is missing, broken, too large, no picture, or of a format that is not opened.
    """
    sides = (size, size) if isinstance(size, int) else size
    with opened(path, least=max(sides) / preprocessing.crop_fraction) as upright:
        return fit(rgb(upright, preprocessing.white), size, preprocessing)


@contextmanager
def opened(path: Path, *, least: float | None = None) -> Iterator[Image.Image]:
    """Decodes a picture and turns it upright (EXIF); of an animation the first frame.

    Every reader of a picture comes through here; the programs for boards have a copy of their own.

    Args:
        path: The file.
        least: The side, in pixels, that the picture is made smaller to afterwards, which lets a large JPEG be decoded
            at 1/2, 1/4 or 1/8 of its size; None for the picture's own size.

    Raises:
        InputError: The file is missing, broken, too large, no picture, or of a format that is not opened.
    """
    with _header(path) as image:
        is_small = _drafted(image, least)
        # One at a time: some of them together need more memory than the machine has.
        with nullcontext() if is_small else _LARGE:
            try:
                _decode(image)
                yield image
            except (OSError, SyntaxError, ValueError) as exc:
                # Modes that Pillow cannot convert show only where the picture is used.
                raise _broken(path, exc) from exc


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is stored, from its header alone.

    Raises:
        InputError: As `opened`.
    """
    with _header(path) as image:
        return image.size


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture that stands upright (EXIF), from its header.

    Raises:
        InputError: As `opened`.
    """
    with _header(path) as image:
        try:
            is_turned = image.getexif().get(_ORIENTATION) in _QUARTERS
        except Exception as exc:  # whatever Pillow meets in damaged EXIF
            raise _broken(path, exc) from exc
        return (image.height, image.width) if is_turned else image.size


def most_pixels() -> int:
    """The largest width times height of a picture that is decoded: $MNEDGE_MAX_PIXELS, or 67,108,864.

    Raises:
        InputError: The variable is no whole number above 0.
    """
    text = os.environ.get(_LIMIT, "")
    if not text:
        return _MOST_PIXELS
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_LIMIT and int(text) > 0):
        raise InputError(f"{_LIMIT} is {text[:40]!r}; it is the most pixels of a picture, e.g. {_MOST_PIXELS}")
    return int(text)


@contextmanager
def _header(path: Path) -> Iterator[Image.Image]:
    """Opens a picture, of which nothing is decoded yet."""
    with ExitStack() as stack:
        yield _parsed(stack, path)


def _parsed(stack: ExitStack, path: Path) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    formats = (*FORMATS, *heic.formats(path))
    try:
        stream = stack.enter_context(open_regular(path))
        start = stream.read(_MAGIC_BYTES)
        stream.seek(0)
    except FileNotFoundError as exc:
        raise InputError(f"{path} does not exist") from exc
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    try:
        with _OPENING:
            # Pillow's own limit tells neither the size nor how to raise it; the one below does.
            kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = stack.enter_context(Image.open(stream, formats=formats))
            finally:
                Image.MAX_IMAGE_PIXELS = kept
    except UnidentifiedImageError as exc:
        if foreign := _foreign_format(start):
            raise InputError(
                f"{path} is of the format {foreign}, which mnedge does not open; convert it to PNG or JPEG (it opens "
                f"{', '.join(FORMATS)}){SKIP}"
            ) from exc
        raise _broken(path, exc) from exc
    except Exception as exc:  # whatever Pillow meets in a damaged header
        raise _broken(path, exc) from exc
    if image.width * image.height > (most := most_pixels()):
        raise InputError(
            f"{path} has {image.width} x {image.height} pixels, {image.width * image.height:,} in all, and at most "
            f"{most:,} are decoded; make it smaller, set {_LIMIT}={image.width * image.height} to take it{SKIP}"
        )
    return image


def _drafted(image: Image.Image, least: float | None) -> bool:
    """Lets a large JPEG be decoded smaller, if that loses nothing; returns whether the decoded picture is small."""
    if image.width * image.height <= _LARGE_PIXELS:
        return True
    if least is not None and image.format in ("JPEG", "MPO"):
        # As Pillow's own thumbnails: the filter still has two pixels for each that it makes.
        shrink = min(image.size) / (_REDUCING_GAP * least)
        if shrink > 1:
            image.draft(None, (int(image.width / shrink), int(image.height / shrink)))
    return image.width * image.height <= _LARGE_PIXELS


def _decode(image: Image.Image) -> None:
    from PIL import ImageOps

    try:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
    except (OSError, SyntaxError, ValueError, MemoryError):
        raise
    except Exception as exc:  # decoders raise anything on damaged data: struct.error, KeyError, ZeroDivisionError
        raise ValueError(last_line(exc)) from exc


def _broken(path: Path, exc: Exception) -> InputError:
    from PIL import UnidentifiedImageError

    # Pillow names the stream that it was given.
    why = "no format that is read" if isinstance(exc, UnidentifiedImageError) else exc
    return InputError(f"{path} is broken or not a picture ({why}); remove it{SKIP}")


def _foreign_format(start: bytes) -> str:
    """Name of the format that the first bytes of a file are of, if it is known and not opened; else ""."""
    if start[4:8] == b"ftyp":
        return "AVIF" if start[8:11] == b"avi" else "HEIC" if start[8:11] in (b"hei", b"hev", b"mif", b"msf") else ""
    return next((name for magic, name in _FOREIGN.items() if start.lstrip().startswith(magic)), "")


def is_deep(image: Image.Image) -> bool:
    """Returns whether a picture has more than 8 bits a channel."""
    return image.mode.startswith("I;16") or image.mode in ("I", "F")


def rgb(image: Image.Image, white: float = WHITE) -> Image.Image:
    """Flattens transparency onto white and brings any mode to RGB.

    Args:
        image: The picture.
        white: Value of pictures of more than 8 bits that becomes 255 (see `Preprocessing`); the default leaves it to
            the file's format.

    Raises:
        ValueError: The pixels are 32-bit numbers of no known range, or of a mode that has no way to RGB.
    """
    from PIL import Image

    if is_deep(image):
        values = np.asarray(image, np.float32)
        if white == WHITE:
            values = values * _step_of(image, values)
        else:
            values = np.nan_to_num(values, nan=0.0, posinf=white, neginf=0.0) * (255.0 / white)
        return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image if image.mode == "RGBA" else image.convert("RGBA"))
        return opaque.convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _step_of(image: Image.Image, values: NDArray[np.float32]) -> float:
    """Returns the factor that brings grey values of more than 8 bits to 0..255."""
    least, most = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    # PPM, and PNG in older Pillows, have 16 bits in 32; TIFF of 32 bits does not say what is white.
    if image.mode.startswith("I;16") or image.format in ("PPM", "PNG"):
        return 255.0 / 65535.0
    if not (0 <= least <= most <= 65535) or (image.mode == "F" and most <= 1.0):
        raise ValueError(
            f"32-bit pixels from {least:g} to {most:g}, whose range nobody says: save it with 8 or 16 bits a channel"
        )
    return 1.0 if most <= 255.0 else 255.0 / 65535.0


def fit(image: Image.Image, size: Size, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Crops or stretches a picture to a size: uint8, (height, width) and the picture's channels."""
    from PIL import Image

    resample = Image.Resampling[preprocessing.interpolation.upper()]
    height, width = (size, size) if isinstance(size, int) else size
    resized = image.resize((width, height), resample, box=kept(image, preprocessing, width / height))
    return np.asarray(resized, np.uint8)


def kept(
    image: Image.Image, preprocessing: Preprocessing, proportion: float = 1.0
) -> tuple[float, float, float, float]:
    """The part of a picture that a model sees: left, top, right, bottom in pixels; `proportion` is width / height."""
    width, height = (max(1.0, side * preprocessing.crop_fraction) for side in image.size)
    if preprocessing.fit == "crop":
        width, height = min(width, height * proportion), min(height, width / proportion)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return left, top, left + width, top + height
