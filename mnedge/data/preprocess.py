"""Picture file to 8-bit pixels: the one preprocessing of calibration, training and evaluation."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.data import heic
from mnedge.errors import InputError

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
# Of 16 bits.
WHITE = 65535.0


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a model's input; it belongs to the data set and travels with the artifact.

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


# Of pictures with boxes or masks.
WHOLE = Preprocessing(1.0, "bilinear", "stretch")


def read_pixels(path: Path, size: Size, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decodes, turns upright (EXIF), crops and resizes one picture of any mode.

    Returns:
        uint8, (height, width, 3), RGB.

    Raises:
        InputError: The file is missing, broken or no picture.
    """
    with opened(path) as upright:
        return fit(rgb(upright, preprocessing.white), size, preprocessing)


@contextmanager
def opened(path: Path, *, least_side: int = 0) -> Iterator[Image.Image]:
    """Opens a picture and turns it upright (EXIF).

    Args:
        path: The file.
        least_side: Of what is needed, pixels: a JPEG may then be decoded at a fraction of its size, and much faster.

    Raises:
        InputError: The file is missing, broken or no picture, which may show only while it is looked at.
    """
    from PIL import Image, ImageOps

    heic.prepare(path)
    try:
        with Image.open(path) as image:
            if least_side:
                image.draft("RGB", (least_side, least_side))
            yield ImageOps.exif_transpose(image)
    except FileNotFoundError as exc:
        raise InputError(f"{path} does not exist") from exc
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
        raise InputError(
            f"{path} is broken or not a picture ({exc}); remove it, or pass --skip-broken to leave such files out"
        ) from exc


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has more than 8 bits a channel."""
    return image.mode.startswith("I;16") or image.mode in ("I", "F")


def rgb(image: Image.Image, white: float = WHITE) -> Image.Image:
    """Flattens transparency onto white and brings any mode to RGB; see `Preprocessing.white`."""
    from PIL import Image

    if is_deep(image):
        values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=white, neginf=0.0)
        return Image.fromarray(np.clip(values * (255.0 / white), 0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


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
