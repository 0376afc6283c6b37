"""One test of both readers of pictures, mnedge's and that of the programs of boards, over every mode and turn.

The programs have a reader of their own, since they run without mnedge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mnedge.bundles import _pictures
from mnedge.data import heic, preprocess
from mnedge.data.preprocess import Preprocessing, read_pixels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Save = Callable[[Path], Path]

_ABOUT: dict[str, Any] = {
    "width": 24, "height": 24, "crop_fraction": 0.875, "interpolation": "bilinear",
    "pixels": {"scale": [1.0], "offset": [0.0], "order": "RGB"},
}  # fmt: skip
_CHANCE = np.random.default_rng(0).integers(0, 65536, (30, 40, 4))
_COLOURS = Image.fromarray((_CHANCE[..., :3] // 257).astype(np.uint8))
_DEEP = _CHANCE[..., 0]


def _turned(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


def _saved(picture: Image.Image, name: str, **how: Any) -> Save:
    def save(folder: Path) -> Path:
        picture.save(folder / name, **how)
        return folder / name

    return save


def _written(name: str, data: bytes) -> Save:
    def save(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return save


def _palette_with_alpha() -> Image.Image:
    picture = _COLOURS.convert("P", palette=Image.Palette.ADAPTIVE, colors=200)
    picture.info["transparency"] = bytes(range(200))
    return picture


def _alpha(mode: str) -> Image.Image:
    picture = _COLOURS.convert("RGBA" if mode == "RGBA" else "LA")
    picture.putalpha(Image.fromarray((_CHANCE[..., 3] // 257).astype(np.uint8)))
    return picture


_COARSE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8))
_KINDS: dict[str, Save] = {
    "RGB": _saved(_COLOURS, "rgb.png"),
    "L": _saved(_COLOURS.convert("L"), "l.png"),
    "LA": _saved(_alpha("LA"), "la.png"),
    "P": _saved(_COLOURS.convert("P"), "p.png"),
    "P and one transparent": _saved(_COLOURS.convert("P"), "p1.png", transparency=3),
    "P and alpha": _saved(_palette_with_alpha(), "pa.png", transparency=bytes(range(200))),
    "PA as TIFF": _saved(_alpha("LA").convert("PA"), "pa.tiff"),
    "GIF": _saved(_COLOURS.convert("P"), "p.gif", transparency=7),
    "RGBA": _saved(_alpha("RGBA"), "rgba.png"),
    "RGBA as WebP": _saved(_alpha("RGBA"), "rgba.webp", lossless=True),
    "CMYK": _saved(_COLOURS.convert("CMYK"), "cmyk.jpg"),
    "YCbCr as TIFF": _saved(_COLOURS.convert("YCbCr"), "ycbcr.tiff"),
    "LAB": _saved(_COLOURS.convert("LAB"), "lab.tiff"),
    "1": _saved(_COLOURS.convert("1"), "bits.png"),
    "I;16": _saved(Image.fromarray(_DEEP.astype(np.uint16)), "deep.png"),
    "I;16 and dark": _saved(Image.fromarray((_DEEP // 256).astype(np.uint16)), "dark.png"),
    "I;16 of 12 bits": _saved(Image.fromarray((_DEEP // 16).astype(np.uint16)), "twelve.png"),
    "I;16B": _saved(Image.frombytes("I;16B", (40, 30), _DEEP.astype(">u2").tobytes()), "big.tiff"),
    "I": _saved(Image.fromarray(_DEEP.astype(np.int32)), "ints.tiff"),
    "F": _saved(Image.fromarray((_DEEP / 257).astype(np.float32)), "reals.tiff"),
    "PGM of 16 bits": _written("deep.pgm", b"P5 40 30 65535\n" + _DEEP.astype(">u2").tobytes()),
    **{f"turned {turn}": _saved(_COLOURS, f"turned{turn}.jpg", exif=_turned(turn)) for turn in range(1, 9)},
    "turned PNG": _saved(_COLOURS, "turned.png", exif=_turned(6)),
    "large and turned": _saved(
        _COARSE.resize((4800, 3600), Image.Resampling.BICUBIC), "large.jpg", exif=_turned(6)
    ),
}  # fmt: skip


@pytest.mark.parametrize("white", [65535.0, 4095.0])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("kind", _KINDS)
def test_both_readers_give_the_same_pixels(kind: str, fit: Any, white: float, tmp_path: Path) -> None:
    path = _KINDS[kind](tmp_path)
    due = read_pixels(path, 24, Preprocessing(fit=fit, white=white))
    about: Any = {**_ABOUT, "fit": fit, "white": white}
    least = 24 / 0.875
    found = _pictures.pixels_of(_pictures.opened(path, least), about)
    assert found.dtype == np.uint8
    assert np.array_equal(found, due)
    # Noise that came out as one shade, all white for example, was not read.
    assert due.std() > (0.1 if "dark" in kind else 1)


def test_16_bits_are_no_white_square(tmp_path: Path) -> None:
    Image.fromarray(np.full((30, 40), 0x8000, np.uint16)).save(tmp_path / "half.png")
    assert (read_pixels(tmp_path / "half.png", 24, Preprocessing()) == 128).all()
    assert (_pictures.pixels_of(_pictures.opened(tmp_path / "half.png"), _ABOUT) == 128).all()  # type: ignore[arg-type]


def test_the_formats_and_limits_are_the_same() -> None:
    assert preprocess.FORMATS == _pictures.FORMATS
    # Boards have no pillow-heif.
    assert set(preprocess.SUFFIXES) - set(heic.SUFFIXES) == _pictures.SUFFIXES
    assert preprocess._MOST_PIXELS == _pictures.MOST_PIXELS
    assert preprocess._LARGE_PIXELS == _pictures.LARGE_PIXELS
    assert preprocess._REDUCING_GAP == _pictures.REDUCING_GAP
    assert preprocess.WHITE == _pictures.WHITE
