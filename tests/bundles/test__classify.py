"""The programs of boards read pictures as mnedge does: a copy of its own, since they run without it."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.bundles import _classify
from mnedge.data import heic, preprocess
from mnedge.data.preprocess import Preprocessing, read_pixels

_ABOUT: "_classify.About" = {
    "width": 24, "height": 24, "crop_fraction": 0.875, "interpolation": "bilinear",
    "pixels": {"scale": [1.0], "offset": [0.0], "order": "RGB"},
}  # fmt: skip


def test_the_formats_and_limits_are_the_same() -> None:
    assert preprocess.FORMATS == _classify.FORMATS
    # Boards have no pillow-heif.
    assert set(preprocess.SUFFIXES) - set(heic.SUFFIXES) == _classify.SUFFIXES
    assert preprocess._MOST_PIXELS == _classify.MOST_PIXELS
    assert preprocess._LARGE_PIXELS == _classify.LARGE_PIXELS
    assert preprocess._REDUCING_GAP == _classify.REDUCING_GAP


def _pictures(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = rng.integers(0, 65536, (30, 40))
    picture.save(folder / "turned.jpg", exif=exif)
    picture.convert("CMYK").save(folder / "inks.jpg")
    picture.convert("P").save(folder / "palette.png", transparency=3)
    picture.convert("RGBA").save(folder / "alpha.webp", lossless=True)
    picture.convert("1").save(folder / "bits.png")
    Image.fromarray(deep.astype(np.uint16)).save(folder / "deep.png")
    Image.fromarray((deep // 256).astype(np.uint16)).save(folder / "dark.png")
    Image.fromarray(deep.astype(np.int32)).save(folder / "ints.tiff")
    Image.fromarray((deep / 257).astype(np.float32)).save(folder / "reals.tiff")
    (folder / "deep.pgm").write_bytes(b"P5 40 30 65535\n" + deep.astype(">u2").tobytes())
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8))
    coarse.resize((4800, 3600), Image.Resampling.BICUBIC).save(folder / "large.jpg", exif=exif)
    return sorted(folder.iterdir())


def _read(paths: list[str]) -> tuple[list[np.ndarray], int]:
    chosen = _classify.parse(_classify.argument_parser("x"), paths)
    reading = _classify.Reading(chosen, _ABOUT)
    return [pixels for _, _, pixels in reading], reading.status


def test_the_pixels_are_the_same(tmp_path: Path) -> None:
    paths = _pictures(tmp_path)
    found, status = _read([str(tmp_path)])
    assert status == 0
    assert len(found) == len(paths) == 11
    for path, pixels in zip(paths, found, strict=True):
        assert np.array_equal(pixels, read_pixels(path, 24, Preprocessing())), path.name


def test_the_size_of_a_large_photo_is_its_own(tmp_path: Path) -> None:
    # Boxes and masks are told in its pixels, though it is decoded small for the model.
    Image.new("RGB", (4800, 3600)).save(tmp_path / "large.jpg")
    chosen = _classify.parse(_classify.argument_parser("x"), [str(tmp_path)])
    ((_, upright, _),) = _classify.Reading(chosen, _ABOUT)
    assert upright.size == (4800, 3600)


def test_what_is_not_opened_is_told_and_the_rest_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "evil.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    Image.new("1", (14_000, 14_000)).save(tmp_path / "huge.png")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "reals.tiff")
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "z.png")
    found: list[tuple[list[np.ndarray], int]] = []
    reader = threading.Thread(target=lambda: found.append(_read([str(tmp_path)])), daemon=True)
    reader.start()
    reader.join(60)
    ((pixels, status),) = found
    assert len(pixels) == status == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0].rpartition("/")[2] for line in said] == [
        "evil.jpg",
        "huge.png",
        "pipe.png",
        "reals.tiff",
    ]
    assert "cannot identify" in said[0]
    assert (
        "14000 x 14000 pixels, and at most 67,108,864 are decoded; make it smaller, or set MNEDGE_MAX_PIXELS" in said[1]
    )
    assert "no regular file" in said[2]
    assert "whose range nobody says" in said[3]
