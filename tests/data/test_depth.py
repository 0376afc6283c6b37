"""Pictures of 10, 12 and 16 bits and of real numbers: one scale for the whole set, and it is said."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.errors import InputError


def _folder(root: Path, highest: float, kind: type, suffix: str = "png") -> Path:
    for index, name in enumerate(("ant", "bee")):
        for number in range(3):
            (root / name).mkdir(parents=True, exist_ok=True)
            values: np.ndarray = np.full((12, 12), highest / 2, kind)
            # One picture of the whole set shows how far values go.
            values[:6] = highest if (index, number) == (1, 2) else highest / 4
            Image.fromarray(values).save(root / name / f"{number}.{suffix}")
    return root


@pytest.mark.parametrize(
    ("highest", "kind", "suffix", "white"),
    [
        (1000, np.uint16, "png", 1023),
        (4000, np.uint16, "png", 4095),
        (4095, np.uint16, "tiff", 4095),
        (60000, np.uint16, "png", 65535),
        (1.0, np.float32, "tiff", 1),
        (200.0, np.float32, "tiff", 255),
    ],
)
def test_one_scale(tmp_path: Path, highest: float, kind: type, suffix: str, white: float) -> None:
    found = open_dataset(str(_folder(tmp_path, highest, kind, suffix)))
    assert found.preprocessing.white == white
    # The lower half is half of the highest in every picture, whatever its own highest is.
    for number in range(6):
        assert abs(int(found.read(number, 12)[11, 6, 0]) - 255 * highest / 2 / white) <= 1
    assert abs(int(found.read(5, 12)[0, 6, 0]) - 255 * highest / white) <= 1
    (finding,) = found.findings
    assert f"{white:,.0f} becomes white in all of them" in finding.what
    assert len(finding.where) == 6


def test_it_can_be_told(tmp_path: Path) -> None:
    root = _folder(tmp_path, 4000, np.uint16)
    (root / "dataset.yaml").write_text("white: 8000\n")
    found = open_dataset(str(root))
    assert abs(int(found.read(0, 12)[11, 6, 0]) - 255 * 2000 / 8000) <= 1
    assert found.findings == ()


def test_8_bits_are_not_spoken_of(tmp_path: Path) -> None:
    found = open_dataset(str(_folder(tmp_path, 200, np.uint8)))
    assert found.findings == ()
    assert found.read(0, 12)[11, 6, 0] == 100


def _colours(path: Path, highest: int) -> None:
    """A PNG of 16-bit colours, which Pillow reads but does not write."""
    row = b"\0" + highest.to_bytes(2, "big") * 3 * 12
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 12, 12, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * 12)),
        (b"IEND", b""),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )
    )


def test_colours_that_would_be_black_are_refused(tmp_path: Path) -> None:
    for name in ("ant/0.png", "ant/1.png", "bee/0.png", "bee/1.png"):
        _colours(tmp_path / name, 4000)
    with pytest.raises(
        InputError, match=r"0\.png and 3 others have colours of 16 bits of which the upper ones are not"
    ):
        open_dataset(str(tmp_path))
    _colours(tmp_path / "ant/0.png", 60000)
    assert abs(int(open_dataset(str(tmp_path)).read(0, 12)[0, 0, 0]) - 234) <= 1
