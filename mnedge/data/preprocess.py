"""Picture file to 8-bit pixels: the one preprocessing of calibration, training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

Interpolation = Literal["nearest", "bilinear", "bicubic"]
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a model's input; it belongs to the data set and travels with the artifact.

    Attributes:
        crop_fraction: Side of the centred square that is kept, as a share of the shorter side.
        interpolation: Filter of the resize, with Pillow's antialiasing.
    """

    crop_fraction: float = 0.875
    interpolation: Interpolation = "bilinear"


def read_pixels(path: Path, resolution: int, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decodes, turns upright (EXIF), crops and resizes one picture of any mode.

    Returns:
        uint8, (resolution, resolution, 3), RGB.

    Raises:
        InputError: The file is missing, broken or no picture.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            return _fit(_rgb(upright), resolution, preprocessing)
    except FileNotFoundError as exc:
        raise InputError(f"{path} does not exist") from exc
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
        raise InputError(
            f"{path} is broken or not a picture ({exc}); remove it, or pass --skip-broken to leave such files out"
        ) from exc


def _rgb(image: Image.Image) -> Image.Image:
    """Flattens transparency onto white and brings any mode to RGB."""
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, np.float32)
        scale = 255.0 / 65535.0 if values.max(initial=0.0) > 255.0 else 1.0
        return Image.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


def _fit(image: Image.Image, resolution: int, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    from PIL import Image

    side = max(1.0, min(image.size) * preprocessing.crop_fraction)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    resample = Image.Resampling[preprocessing.interpolation.upper()]
    resized = image.resize((resolution, resolution), resample, box=box)
    return np.asarray(resized, np.uint8)
