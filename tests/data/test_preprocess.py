from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.preprocess import Preprocessing, fit, read_pixels
from mnedge.errors import InputError

_WHOLE = Preprocessing(crop_fraction=1.0)


def _picture(path: Path, mode: str, size: tuple[int, int] = (40, 30)) -> Path:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))
    if mode in ("I;16", "I", "F"):
        values = rng.integers(0, 65536, (size[1], size[0]))
        image = Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        image = image.convert(mode)
    image.save(path)
    return path


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", "png"), ("L", "png"), ("1", "png"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("CMYK", "jpg"),
     ("YCbCr", "jpg"), ("I;16", "png"), ("I", "tiff"), ("F", "tiff"), ("P", "gif"), ("RGB", "webp"), ("RGB", "bmp")],
)  # fmt: skip
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    pixels = read_pixels(_picture(tmp_path / f"x.{suffix}", mode), 16, Preprocessing())
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 1


@pytest.mark.parametrize("size", [(1, 50), (50, 1), (1, 1), (3000, 2)])
def test_extreme_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    assert read_pixels(_picture(tmp_path / "x.png", "RGB", size), 8, Preprocessing()).shape == (8, 8, 3)


def test_exif_rotation_is_undone(tmp_path: Path) -> None:
    upright = np.zeros((32, 32, 3), np.uint8)
    upright[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "x.png", exif=exif)
    pixels = read_pixels(tmp_path / "x.png", 32, _WHOLE)
    assert pixels[:14].min() > 200
    assert pixels[18:].max() < 50


def test_crop_is_the_centred_share_of_the_shorter_side(tmp_path: Path) -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[10:30, 30:50] = 255
    Image.fromarray(picture).save(tmp_path / "x.png")
    assert read_pixels(tmp_path / "x.png", 20, Preprocessing(0.5, "nearest")).min() == 255
    assert read_pixels(tmp_path / "x.png", 20, Preprocessing(1.0, "nearest")).mean() == pytest.approx(255 / 4, abs=1)


def test_transparency_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "x.png")
    assert read_pixels(tmp_path / "x.png", 8, _WHOLE).min() == 255


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"\xff\xd8\xff\xe0cut"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.jpg is broken or not a picture"):
        read_pixels(tmp_path / "bad.jpg", 8, _WHOLE)


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    whole = _picture(tmp_path / "x.jpg", "RGB", (200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.jpg is broken"):
        read_pixels(tmp_path / "cut.jpg", 8, _WHOLE)


@pytest.mark.parametrize(("size", "part"), [((20, 40), (0, 15, 60, 45)), ((40, 20), (15, 0, 45, 60))])
def test_another_shape_than_a_square_keeps_its_proportions(
    size: tuple[int, int], part: tuple[int, int, int, int]
) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8))
    whole = Preprocessing(1.0)
    expected = picture.resize(size[::-1], Image.Resampling.BILINEAR, box=part)
    assert np.array_equal(fit(picture, size, whole), np.asarray(expected))
    stretched = picture.resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(fit(picture, size, Preprocessing(1.0, "bilinear", "stretch")), np.asarray(stretched))
    assert np.array_equal(fit(picture, (24, 24), whole), fit(picture, 24, whole))
