"""HEIC: read where pillow-heif is there; otherwise said how."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import heic, open_dataset
from mnedge.errors import InputError


def test_without_the_package_it_is_said_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heic, "find_spec", lambda _name: None)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(2):
            (tmp_path / name / f"IMG_{number}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    found = open_dataset(str(tmp_path))
    with pytest.raises(
        InputError, match=r"IMG_0\.HEIC is HEIC, which Pillow does not read by itself; `pip install pillow-h"
    ):
        found.read(0, 16)


@pytest.mark.skipif(find_spec("pillow_heif") is None, reason="pillow-heif is not installed")
def test_pictures_of_an_iphone(tmp_path: Path) -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    for index, name in enumerate(("ant", "bee")):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = np.full((32, 32, 3), 60 + 100 * index, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.heic")
    found = open_dataset(str(tmp_path))
    assert abs(int(found.read(5, 16)[8, 8, 0]) - 160) < 4
