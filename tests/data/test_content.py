"""The fingerprint of a data set is its content, whatever names, sizes and times say."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge import cache
from mnedge.data import content, open_dataset
from mnedge.data.boxes import open_boxes
from mnedge.data.content import digests
from mnedge.data.masks import open_masks
from mnedge.errors import InputError
from mnedge.files import sha256

pytestmark = pytest.mark.usefixtures("private_cache")


def _bmp(path: Path, shade: int) -> None:
    """An uncompressed picture: another shade has the same size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12), (shade, 0, 0)).save(path, "BMP")


def _repainted(path: Path, shade: int) -> None:
    """Other pixels under the same name, size and time of modification."""
    before = path.stat()
    _bmp(path, shade)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, after.st_ino)


def _folder(root: Path) -> Path:
    for number in range(6):
        _bmp(root / ("cat" if number % 2 else "dog") / f"{number}.bmp", number)
    return root


@pytest.mark.parametrize("settled_ns", [0, content._SETTLED_NS])
def test_other_pixels_under_the_same_name_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled_ns: int
) -> None:
    monkeypatch.setattr(content, "_SETTLED_NS", settled_ns)
    root = _folder(tmp_path / "d")
    before = open_dataset(str(root)).fingerprint
    assert open_dataset(str(root)).fingerprint == before
    time.sleep(0.02)
    _repainted(root / "cat" / "1.bmp", 200)
    after = open_dataset(str(root)).fingerprint
    assert after != before
    _repainted(root / "cat" / "1.bmp", 1)
    assert open_dataset(str(root)).fingerprint == before


def test_a_copied_data_set_has_the_same_fingerprint(tmp_path: Path) -> None:
    root = _folder(tmp_path / "d")
    shutil.copytree(root, tmp_path / "moved")
    assert open_dataset(str(root)).fingerprint == open_dataset(str(tmp_path / "moved")).fingerprint


def test_other_masks_under_the_same_name_size_and_time(tmp_path: Path) -> None:
    for number in range(4):
        _bmp(tmp_path / "images" / f"{number}.bmp", number)
        mask = tmp_path / "masks" / f"{number}.png"
        mask.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((12, 12), number % 2, np.uint8)).save(mask, compress_level=0)
    before = open_masks(tmp_path).fingerprint
    mask = tmp_path / "masks" / "3.png"
    status = mask.stat()
    Image.fromarray(np.zeros((12, 12), np.uint8)).save(mask, compress_level=0)
    os.utime(mask, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert mask.stat().st_size == status.st_size
    assert open_masks(tmp_path).fingerprint != before


def _table(root: Path, names: tuple[str, str], split: str = "eval") -> Path:
    _folder(root)
    rows = ["filename,class_index,class,split"]
    for number in range(6):
        index = number % 2
        place = "cat" if index else "dog"
        rows.append(f"{place}/{number}.bmp,{index},{names[index]},{split if number < 2 else 'train'}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root / "labels.csv"


def test_class_names_labels_and_splits_are_part_of_it(tmp_path: Path) -> None:
    before = open_dataset(str(_table(tmp_path, ("dog", "cat")))).fingerprint
    renamed = open_dataset(str(_table(tmp_path, ("wolf", "cat")))).fingerprint
    split = open_dataset(str(_table(tmp_path, ("dog", "cat"), "train"))).fingerprint
    table = _table(tmp_path, ("dog", "cat"))
    assert open_dataset(str(table)).fingerprint == before
    table.write_text(table.read_text().replace("dog/0.bmp,0,dog", "dog/0.bmp,1,cat"))
    assert len({before, renamed, split, open_dataset(str(table)).fingerprint}) == 4


def test_a_box_and_its_class_are_part_of_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _bmp(tmp_path / f"{name}.bmp", 1)
    table, header = tmp_path / "labels.csv", "filename,class,x1,y1,x2,y2\n"
    found = set()
    for row in ("a.bmp,dog,1,1,5,5\nb.bmp,cat,1,1,5,5", "a.bmp,dog,1,1,6,5\nb.bmp,cat,1,1,5,5",
                "a.bmp,wolf,1,1,5,5\nb.bmp,cat,1,1,5,5"):  # fmt: skip
        table.write_text(header + row + "\n")
        found.add(open_boxes(tmp_path).fingerprint)
    assert len(found) == 3


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A file, and the cache's file that remembers a wrong digest of it: whoever uses that one is found out."""
    monkeypatch.setattr(content, "_SETTLED_NS", 0)
    file = tmp_path / "d" / "a"
    file.parent.mkdir()
    file.write_bytes(b"pixels")
    time.sleep(0.02)
    assert digests([file], str(tmp_path / "d")) == [sha256(file)]
    (kept,) = (path for path in (tmp_path / "cache").glob("digests-*/*") if path.name != "entry.json")
    work, name = cache.resumable("digests", {}), os.fsencode(tmp_path / "d")
    rows = json.loads(cache.recall(work, name) or b"")
    cache.keep(work, name, json.dumps({path: [mark, "0" * 64] for path, (mark, _) in rows.items()}).encode())
    return file, kept


def test_an_untouched_file_is_not_read_again_unless_asked(remembered: tuple[Path, Path]) -> None:
    file, _ = remembered
    assert digests([file], str(file.parent)) == ["0" * 64]
    assert digests([file], str(file.parent), is_trusted=False) == [sha256(file)]
    # What was read is what is remembered from then on.
    assert digests([file], str(file.parent)) == [sha256(file)]


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"a": 1}', b"\xff" * 40])
def test_a_damaged_memory_is_none(remembered: tuple[Path, Path], damage: bytes) -> None:
    file, kept = remembered
    kept.write_bytes(damage)
    assert digests([file], str(file.parent)) == [sha256(file)]
    cache.keep(cache.resumable("digests", {}), os.fsencode(file.parent), damage)
    assert digests([file], str(file.parent)) == [sha256(file)]


def test_a_young_file_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"pixels")
    digests([tmp_path / "a"], str(tmp_path))
    assert not list((tmp_path / "cache").glob("digests-*/*"))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    root = _folder(tmp_path / "d")
    found = open_dataset(str(root))
    (root / "cat" / "1.bmp").unlink()
    with pytest.raises(InputError, match=r"1\.bmp cannot be read"):
        _ = found.fingerprint
