import io
import os
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mnedge
from mnedge.data.preprocess import Preprocessing, fit, opened, picture_size, read_pixels, upright_size
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


@pytest.mark.parametrize(("turn", "size"), [(1, (30, 20)), (3, (30, 20)), (6, (20, 30)), (8, (20, 30))])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_size_of_a_turned_picture_is_that_of_what_is_decoded(
    tmp_path: Path, turn: int, size: tuple[int, int], suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"x.{suffix}"
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert upright_size(path) == size
    with opened(path) as image:
        assert image.size == size


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


_EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%BeginPreview\n%%EndPreview\n0 0 8 8 rectfill\n"
    b"showpage\n%%EOF\n"
)


def test_an_eps_starts_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("gs", "gswin32c", "gswin64c"):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "evil.jpg").write_bytes(_EPS)
    with pytest.raises(InputError, match=r"evil\.jpg is of the format EPS, .* convert it to PNG or JPEG"):
        read_pixels(tmp_path / "evil.jpg", 8, _WHOLE)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("suffix", "start", "name"),
    [("ico", b"", "ICO"), ("jp2", b"", "JPEG 2000"), ("tga", b"", None),
     ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"), ("pdf", b"%PDF-1.7\n", "PDF"),
     ("psd", b"8BPS\0\1" + b"\0" * 30, "PSD")],
)  # fmt: skip
def test_other_formats_are_named(tmp_path: Path, suffix: str, start: bytes, name: str | None) -> None:
    place = tmp_path / f"x.{suffix}"
    if start:
        place.write_bytes(start)
    else:
        Image.new("RGB", (16, 16)).save(place)
    wanted = f"is of the format {name}, which mnedge does not open" if name else "is broken or not a picture"
    with pytest.raises(InputError, match=wanted):
        read_pixels(place, 8, _WHOLE)


@pytest.mark.parametrize("side", [8200, 14_000])
def test_a_large_picture_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    # Below and above Pillow's own limit, which would say neither the size nor what to do.
    Image.new("1", (side, side)).save(tmp_path / "x.png")
    wanted = rf"x\.png has {side} x {side} pixels, .* at most 67,108,864 are decoded; .* MNEDGE_MAX_PIXELS={side**2}"
    with pytest.raises(InputError, match=wanted):
        read_pixels(tmp_path / "x.png", 8, _WHOLE)
    with pytest.raises(InputError, match="pixels"):
        picture_size(tmp_path / "x.png")


def test_the_limit_of_pixels_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _picture(tmp_path / "x.png", "RGB")
    monkeypatch.setenv("MNEDGE_MAX_PIXELS", "1199")
    with pytest.raises(InputError, match=r"40 x 30 pixels, 1,200 in all, and at most 1,199"):
        read_pixels(path, 8, _WHOLE)
    monkeypatch.setenv("MNEDGE_MAX_PIXELS", "1200")
    assert read_pixels(path, 8, _WHOLE).shape == (8, 8, 3)
    for wrong in ("0", "-1", "many", "1e9", "9" * 5000):
        monkeypatch.setenv("MNEDGE_MAX_PIXELS", wrong)
        with pytest.raises(InputError, match="MNEDGE_MAX_PIXELS is"):
            read_pixels(path, 8, _WHOLE)


@pytest.mark.parametrize("turned", [1, 6])
def test_a_large_photo_is_decoded_small(tmp_path: Path, turned: int) -> None:
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turned
    photo = coarse.resize((8000, 6000), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "x.jpg", quality=95, exif=exif)
    with opened(tmp_path / "x.jpg", least=64) as small:
        assert small.size == ((1000, 750) if turned == 1 else (750, 1000))
    with opened(tmp_path / "x.jpg") as whole:
        assert sorted(whole.size) == [6000, 8000]
        exact = fit(whole, 64, Preprocessing()).astype(int)
    shown = read_pixels(tmp_path / "x.jpg", 64, Preprocessing()).astype(int)
    assert abs(shown - exact).max() <= 4


def test_the_shades_of_16_bits_stay(tmp_path: Path) -> None:
    # A dark picture has no value above 255, and is no picture of 8 bits for that.
    Image.fromarray(np.full((8, 8), 200, np.uint16)).save(tmp_path / "dark.png")
    assert read_pixels(tmp_path / "dark.png", 8, _WHOLE).max() == 1
    Image.fromarray(np.full((8, 8), 0x8080, np.uint16)).save(tmp_path / "grey.png")
    assert set(read_pixels(tmp_path / "grey.png", 8, _WHOLE).ravel().tolist()) == {128}
    (tmp_path / "grey.pgm").write_bytes(b"P5 2 2 65535\n" + b"\x00\xc8" * 4)
    assert read_pixels(tmp_path / "grey.pgm", 8, _WHOLE).max() == 1


@pytest.mark.parametrize(("value", "dtype"), [(0.5, "float32"), (np.nan, "float32"), (-4, "int32"), (1 << 20, "int32")])
def test_pixels_of_no_known_range_are_refused(tmp_path: Path, value: float, dtype: str) -> None:
    Image.fromarray(np.full((8, 8), value, dtype)).save(tmp_path / "x.tiff")
    with pytest.raises(InputError, match=r"whose range nobody says: save it with 8 or 16 bits"):
        read_pixels(tmp_path / "x.tiff", 8, _WHOLE)


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for suffix in ("gif", "png", "webp", "tiff"):
        # Other formats pass over what only WebP knows.
        frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
        assert read_pixels(tmp_path / f"x.{suffix}", 8, _WHOLE)[4, 4].tolist() == [255, 0, 0]


def test_inks_and_transparent_palettes(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.jpg")
    red = read_pixels(tmp_path / "x.jpg", 8, _WHOLE)[4, 4].astype(int)
    assert (abs(red - [255, 0, 0]) <= 3).all()
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.putpixel((0, 0), 0)
    picture.save(tmp_path / "x.png", transparency=1)
    pixels = read_pixels(tmp_path / "x.png", 8, _WHOLE)
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[4, 4].tolist() == [255, 255, 255]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"x\.png cannot be read: it is no regular file"):
        read_pixels(tmp_path / "x.png", 8, _WHOLE)
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_pixels(tmp_path / ("x" * 300), 8, _WHOLE)
    with pytest.raises(InputError, match="does not exist"):
        read_pixels(tmp_path / "x\0y", 8, _WHOLE)


def _seeds() -> dict[str, bytes]:
    """Small pictures of many kinds, by name."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, tuple[Image.Image, dict]] = {
        "png": (picture, {"exif": exif}), "palette.png": (picture.convert("P"), {"transparency": 3}),
        "16.png": (Image.fromarray(rng.integers(0, 65536, (24, 32)).astype(np.uint16)), {}),
        "jpg": (picture, {"exif": exif}), "progressive.jpg": (picture, {"progressive": True}),
        "cmyk.jpg": (picture.convert("CMYK"), {}), "gif": (picture, {"save_all": True, "append_images": [picture]}),
        "bmp": (picture, {}), "webp": (picture, {"lossless": True}), "lossy.webp": (picture, {"exif": exif}),
        "tiff": (picture, {}), "lzw.tiff": (picture, {"compression": "tiff_lzw"}),
        "jpeg.tiff": (picture, {"compression": "jpeg"}), "ppm": (picture, {}),
    }  # fmt: skip
    made = {}
    for name, (image, options) in kinds.items():
        buffer = io.BytesIO()
        image.save(buffer, {"jpg": "JPEG", "tiff": "TIFF"}.get(name.split(".")[-1], name.split(".")[-1]), **options)
        made[name] = buffer.getvalue()
    return made


def test_damaged_pictures(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    taken = refused = 0
    seeds = _seeds()
    with warnings.catch_warnings():
        # Pillow warns of odd EXIF and palettes; what matters is what comes out.
        warnings.simplefilter("ignore")
        for seed in range(request.config.getoption("--fuzz")):
            chance = random.Random(seed)  # noqa: S311 - damage, not secrets
            name = chance.choice(sorted(seeds))
            data = bytearray(seeds[name])
            for _ in range(chance.randint(1, 4)):
                # Mostly in the header, where sizes and kinds stand.
                at = chance.randrange(min(len(data), chance.choice((64, 200, len(data)))))
                data[at : at + chance.choice((0, 1, 1, 4))] = bytes(
                    chance.choice((0, 1, 127, 128, 255, chance.randrange(256))) for _ in range(chance.choice((0, 1, 4)))
                )
            if chance.random() < 0.1:
                del data[chance.randrange(len(data)) :]
            (tmp_path / "x").write_bytes(data)
            try:
                pixels = read_pixels(tmp_path / "x", 8, _WHOLE)
            except InputError:
                refused += 1
                continue
            except Exception as exc:
                raise AssertionError(f"seed {seed}: {exc!r} from a {name}") from exc
            assert pixels.shape == (8, 8, 3)
            taken += 1
    assert taken > 0
    assert refused > 0


def test_pictures_are_opened_in_one_place() -> None:
    package = Path(mnedge.__file__).parent
    found = {
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if "Image.open(" in path.read_text()
    }
    # The programs of boards run without mnedge; a mask inside a JSON is no file.
    assert found == {"data/preprocess.py", "bundles/_pictures.py", "data/formats/labelme.py"}


def test_no_picture_is_named_without_pillows_stream(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt is broken or not a picture \(no format that is read\)"):
        read_pixels(tmp_path / "notes.txt", 8, Preprocessing())
