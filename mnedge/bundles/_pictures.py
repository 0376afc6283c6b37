"""Reads pictures of any kind as the model was measured with them: decoded, turned upright, cropped and resized."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypedDict

    from numpy.typing import NDArray

    class Preprocessing(TypedDict, total=False):
        """The preprocessing of model.json; `pixels` holds the range of the opened model."""

        pixels: Mapping[str, object]
        height: int
        width: int
        crop_fraction: float
        interpolation: str
        fit: str
        white: float


SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# Of Pillow's formats, those of photos: of the others, that of EPS starts a program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
# Width times height of the largest picture that is decoded, where MNEDGE_MAX_PIXELS does not say it.
MOST_PIXELS = 1 << 26
# A JPEG above it is decoded at a fraction of its size, but not below this many times what the model takes.
LARGE_PIXELS = 1 << 24
REDUCING_GAP = 2
# Value of grey of 16 bits that is white, where model.json does not name another.
WHITE = 65535.0
LUMA = np.array([19595, 38470, 7471], np.uint32)


class ProgramError(Exception):
    """Ends a program with this message, in one line, and status 2."""


def opened(source: Path | io.BytesIO, least: float | None = None) -> Image.Image:
    """A picture, decoded and turned as its EXIF says.

    Args:
        source: A file, or what the camera gave.
        least: Side in pixels that it is made smaller to, which lets a large JPEG be decoded smaller; None for its own.
    """
    # A pipe would be waited for.
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise OSError("no regular file")
    # The limit below says what to do, which Pillow's own does not.
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(source, formats=FORMATS) as image:
        pixels, most = image.width * image.height, most_pixels()
        if pixels > most:
            raise ValueError(
                f"{image.width} x {image.height} pixels, and at most {most:,} are decoded; make it smaller, or set "
                f"MNEDGE_MAX_PIXELS={pixels}"
            )
        if least is not None and pixels > LARGE_PIXELS and image.format in ("JPEG", "MPO"):
            shrink = min(image.size) / (REDUCING_GAP * least)
            if shrink > 1:
                image.draft(None, (int(image.width / shrink), int(image.height / shrink)))
        image.load()
        upright = ImageOps.exif_transpose(image)
        # Which says whether grey of 32 bits is of 16.
        upright.format = image.format
        return upright


def most_pixels() -> int:
    """Width times height of the largest picture that is decoded: $MNEDGE_MAX_PIXELS, or 67,108,864."""
    text = os.environ.get("MNEDGE_MAX_PIXELS", "")
    if not text:
        return MOST_PIXELS
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
        raise ProgramError(
            f"MNEDGE_MAX_PIXELS is {text[:40]!r}; it is the most pixels of a picture, e.g. {MOST_PIXELS}"
        )
    return int(text)


def rgb(upright: Image.Image, white: float = WHITE) -> Image.Image:
    """A picture of any mode in RGB: transparency is white, grey of more than 8 bits becomes one of 8.

    Args:
        upright: Any picture.
        white: Value of grey of more than 8 bits that becomes 255; the default leaves it to the file's format.
    """
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        values = np.asarray(upright, np.float32)
        if white == WHITE:
            values = values * _step_of(upright, values)
        else:
            values = np.nan_to_num(values, nan=0.0, posinf=white, neginf=0.0) * (255.0 / white)
        return Image.fromarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8)).convert("RGB")
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        opaque = Image.new("RGBA", upright.size, "white")
        opaque.alpha_composite(upright.convert("RGBA"))
        return opaque.convert("RGB")
    return upright.convert("RGB")


def _step_of(upright: Image.Image, values: NDArray[np.float32]) -> float:
    """The factor that brings grey of more than 8 bits to 0..255."""
    least, most = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if upright.mode.startswith("I;16") or upright.format in ("PPM", "PNG"):
        return 255.0 / 65535.0
    if not (0 <= least <= most <= 65535) or (upright.mode == "F" and most <= 1):
        raise ValueError(f"32-bit pixels from {least:g} to {most:g}, whose range nobody says")
    return 1.0 if most <= 255 else 255.0 / 65535.0


def pixels_of(upright: Image.Image, about: Preprocessing) -> NDArray[np.uint8]:
    """A picture as the model was measured with it: cropped or stretched; uint8 (height, width, channels).

    Args:
        upright: Any picture, turned as its EXIF says.
        about: model.json: height, width, crop_fraction, interpolation, fit ("crop" or "stretch") and white; and the
            pixels of the model.
    """
    size, proportion = (about["width"], about["height"]), about["width"] / about["height"]
    picture = rgb(upright, about.get("white", WHITE))
    width, height = (max(1.0, extent * about["crop_fraction"]) for extent in picture.size)
    if about.get("fit", "crop") == "crop":
        width, height = min(width, height * proportion), min(height, width / proportion)
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    resample = Image.Resampling[about["interpolation"].upper()]
    resized = picture.resize(size, resample, box=(left, top, left + width, top + height))
    return arranged(np.asarray(resized, np.uint8), str(about["pixels"]["order"]))


def arranged(pixels: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    """RGB pixels, uint8 (height, width, 3), with the channels that a model takes: RGB, BGR, GREY or RGBA."""
    if order == "BGR":
        return pixels[..., ::-1]
    if order == "GREY":
        # Luma as Pillow computes it, in 1/65536.
        return ((pixels.astype(np.uint32) @ LUMA + 0x8000) >> 16).astype(np.uint8)[..., None]
    if order == "RGBA":
        return np.concatenate([pixels, np.full((*pixels.shape[:-1], 1), 255, np.uint8)], axis=-1)
    return pixels


def pictures(places: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Every picture file named or below a folder that is named, in order."""
    for place in map(Path, places):
        found = (
            sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
        )
        if not found:
            raise ProgramError(f"no pictures in {place}: {', '.join(sorted(SUFFIXES))}")
        for path in found:
            yield str(path), path
