"""Pictures on disk, decoded once: right, in order, and broken ones named together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.gather import gather
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def _folder(root: Path, count: int = 8) -> Path:
    for index, name in enumerate(("ant", "bee")):
        for number in range(count):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (100 * index + number, 0, 0)).save(path)
    return root


def test_what_is_kept_is_what_the_data_set_reads(tmp_path: Path) -> None:
    told: list[float] = []
    dataset = open_dataset(str(_folder(tmp_path / "d")))
    numbers = np.arange(16)[::-1].copy()
    kept = gather(dataset, numbers, 12, tmp_path / "pixels.npy", told.append)
    assert kept.tolist() == numbers.tolist()
    pixels = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, dataset.pixels(numbers, 12)[0])
    assert told[-1] == 1.0
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["pixels.npy"]


def test_broken_pictures_are_named_together(tmp_path: Path) -> None:
    root = _folder(tmp_path / "d")
    for name in ("ant/3.png", "bee/5.png"):
        (root / name).write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2 of 16 pictures are broken.*ant/3\.png, bee/5\.png.*--skip-broken"):
        gather(open_dataset(str(root)), np.arange(16), 12, tmp_path / "pixels.npy", lambda _: None)
    assert not (tmp_path / "pixels.npy").exists()


def test_broken_pictures_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    root = _folder(tmp_path / "d")
    (root / "ant/3.png").write_bytes(b"no picture")
    dataset = open_dataset(str(root), skip_broken=True)
    kept = gather(dataset, np.arange(16), 12, tmp_path / "pixels.npy", lambda _: None)
    assert sorted(set(range(16)) - set(kept.tolist())) == [dataset.sources.index("ant/3.png")]
    assert len(np.load(tmp_path / "pixels.npy")) == 15
