"""Folders of pictures with masks: what is read, and what is refused by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnedge.data.draw import Draw
from mnedge.data.masks import IGNORE, class_pixels, open_masks
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def _folder(root: Path, count: int = 6, names: str = "background\ncat\n") -> Path:
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        mask = np.zeros((30, 40), np.uint8)
        mask[:15, 20:] = 1
        mask[0, :] = IGNORE
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    (root / "classes.txt").write_text(names)
    return root


def test_a_mask_is_stretched_as_its_picture_is(tmp_path: Path) -> None:
    dataset = open_masks(_folder(tmp_path))
    assert dataset.classes == ("background", "cat")
    assert dataset.truths is not None
    mask = dataset.truths(0, 60)
    assert (mask.shape, mask.dtype) == ((60, 60), np.uint8)
    assert dataset.read(0, 60).shape == (60, 60, 3)
    # The upper right quarter, whatever the picture's proportions are; the first line of 30 does not count.
    assert (mask[2:30, 30:] == 1).all()
    assert (mask[30:] == 0).all()
    assert (mask[2:, :30] == 0).all()
    assert (mask[0] == IGNORE).all()
    # In pixels of the picture, nothing is stretched.
    own = dataset.truths(0, 0)
    assert own.shape == (30, 40)
    assert (own[1:15, 20:] == 1).all()
    assert (own[0] == IGNORE).all()
    (tmp_path / "dataset.yaml").write_text("fit: crop\ncrop_fraction: 0.8\n")
    part = open_masks(tmp_path).truths
    assert part is not None
    assert part(0, 0).shape == (24, 24)
    assert (part(0, 0) == own[3:27, 8:32]).all()
    assert class_pixels(mask[None], 2).tolist() == [int((mask == 0).sum()), int((mask == 1).sum())]


def test_splits_are_drawn_or_given(tmp_path: Path) -> None:
    root = _folder(tmp_path, count=10)
    drawn = open_masks(root)
    assert drawn.draw == Draw()
    assert drawn.splits["eval"].size == 2
    rows = [f"{number}.png,{'val' if number < 3 else 'train'}" for number in range(10)]
    (root / "split.csv").write_text("\n".join(["filename,split", *rows]) + "\n")
    given = open_masks(root)
    assert given.draw is None
    assert given.splits["eval"].tolist() == [0, 1, 2]
    assert given.fingerprint != drawn.fingerprint


def test_split_folders_and_names_with_numbers(tmp_path: Path) -> None:
    for name in ("train", "val"):
        _folder(tmp_path / name, count=3)
    (tmp_path / "classes.txt").write_text("0 background\n1 cat\n255 ignore (outline)\n")
    dataset = open_masks(tmp_path)
    assert dataset.classes == ("background", "cat")
    assert (dataset.splits["train"].size, dataset.splits["eval"].size) == (3, 3)


def test_classes_without_names_are_counted(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    (root / "classes.txt").unlink()
    assert open_masks(root).classes == ("0", "1")


def test_a_changed_mask_changes_the_fingerprint(tmp_path: Path) -> None:
    root = _folder(tmp_path)
    before = open_masks(root).fingerprint
    Image.fromarray(np.ones((30, 40), np.uint8)).save(root / "masks" / "2.png")
    assert open_masks(root).fingerprint != before


def _other_size(root: Path) -> None:
    Image.fromarray(np.zeros((20, 40), np.uint8)).save(root / "masks" / "0.png")


def _colours(root: Path) -> None:
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(root / "masks" / "0.png")


def _unknown_class(root: Path) -> None:
    Image.fromarray(np.full((30, 40), 7, np.uint8)).save(root / "masks" / "0.png")


def _broken(root: Path) -> None:
    (root / "masks" / "0.png").write_bytes(b"\x89PNG not really")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_size, r"masks/0\.png has 40 x 20 pixels, its picture 40 x 30; make the mask anew"),
        (_colours, r"masks/0\.png has pixels of kind RGB; it takes 8-bit class indices"),
        (_unknown_class, r"masks/0\.png has class 7, but there are 2 classes, 0 to 1"),
        (_broken, r"masks/0\.png is broken or not a picture"),
    ],
)
def test_a_mask_that_cannot_be_used_is_named(tmp_path: Path, spoil: object, message: str) -> None:
    root = _folder(tmp_path)
    assert callable(spoil)
    spoil(root)
    dataset = open_masks(root)
    assert dataset.truths is not None
    with pytest.raises(InputError, match=message):
        dataset.truths(0, 32)
    rest = open_masks(root, skip_broken=True)
    assert len(rest.sources) == len(dataset.sources) - 1
    (finding,) = rest.findings
    assert re.search(message, finding.sentence())
    assert open_masks(_folder(tmp_path / "whole"), skip_broken=True).findings == ()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("filename,split\n0.png,train\n", r"leaves out 5 pictures of images/ \(1\.png, 2\.png"),
        ("filename,split\ngone.png,train\n", r"names 1 pictures that are not in images/ \(gone\.png\)"),
        ("filename,split\n0.png,holdout\n", r"split\.csv line 2: split 'holdout' is not one of"),
        ("name,split\n0.png,train\n", r"split\.csv line 1: no column 'filename'; it has name, split"),
    ],
)
def test_a_wrong_split_table_is_named(tmp_path: Path, table: str, message: str) -> None:
    root = _folder(tmp_path)
    (root / "split.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        open_masks(root)


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no masks; they come as .*a folder with images/ and masks/"):
        open_masks(tmp_path)
    root = _folder(tmp_path / "lone")
    (root / "masks" / "3.png").unlink()
    with pytest.raises(InputError, match=r"1 of 6 pictures have no mask of the same name in masks/ \(images/3\.png\)"):
        open_masks(root)
    with pytest.raises(InputError, match=r"numbers its classes \[0, 2\]; they run from 0 without a gap"):
        open_masks(_folder(tmp_path / "gap", names="0 background\n2 cat\n"))


def _two_values(root: Path, values: tuple[int, int], names: str = "") -> Path:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(4):
        mask = np.full((20, 30), values[0], np.uint8)
        mask[5:, 10:] = values[1]
        Image.new("RGB", (30, 20)).save(root / "images" / f"{number}.jpg")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    if names:
        (root / "classes.txt").write_text(names)
    return root


@pytest.mark.parametrize("names", ["", "background\nleaf\n"])
def test_masks_of_0_and_255_have_one_class(tmp_path: Path, names: str) -> None:
    found = open_masks(_two_values(tmp_path, (0, 255), names))
    assert found.classes == (tuple(names.split()) or ("background", "foreground"))
    assert found.truths is not None
    assert int((found.truths(0, 0) == 1).sum()) == 15 * 20
    assert not (found.truths(0, 0) == IGNORE).any()
    (told,) = (finding for finding in found.findings if "255 is the class, not what is ignored" in finding.what)
    assert told.where == ("0.png", "1.png", "2.png", "3.png")


def test_255_beside_classes_is_still_ignored(tmp_path: Path) -> None:
    root = _two_values(tmp_path, (1, 255))
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "masks" / "0.png")
    found = open_masks(root).truths
    assert found is not None
    assert (found(1, 0)[5:, 10:] == IGNORE).all()


def test_colours_of_a_palette_file(tmp_path: Path) -> None:
    root = _two_values(tmp_path, (0, 1))
    colours = np.array([(0, 0, 0), (128, 64, 128)], np.uint8)
    for number in range(4):
        mask = np.zeros((20, 30), np.uint8)
        mask[5:, 10:] = 1
        Image.fromarray(colours[mask]).save(root / "masks" / f"{number}.png")
    with pytest.raises(
        InputError, match=r"kind RGB; it takes 8-bit class indices .* or put a palette.csv with name,r,g,b"
    ):
        open_masks(root)
    # CamVid's way.
    (root / "class_dict.csv").write_text("name,r,g,b\nRoad,128,64,128\nbackground,0,0,0\n")
    found = open_masks(root)
    assert found.classes == ("background", "Road")
    assert found.truths is not None
    assert int(found.truths(2, 0).sum()) == 15 * 20
    for text, said in (
        ("name,r,g,b\nRoad,128,64,128\nSky,128,64,128\n", "line 3: 'Sky' has the colour of 'Road'"),
        ("name,r,g,b\nRoad,128,64\n", "line 2: .* is no class with its colour"),
        ("name,r,g,b\nRoad,128,64,128\nRoad,1,2,3\n", "line 3: 'Road' has a colour already"),
        ("name,r,g,b\nRoad,128,64,128\n", "names 1 classes"),
    ):
        (root / "class_dict.csv").write_text(text)
        with pytest.raises(InputError, match=said):
            open_masks(root)


def test_palettes_that_contradict_each_other(tmp_path: Path) -> None:
    root = _two_values(tmp_path, (0, 1))
    for number, palette in ((0, [0, 0, 0, 200, 0, 0, 0, 200, 0]), (1, [0, 0, 0, 0, 200, 0, 200, 0, 0])):
        values = np.zeros((20, 30), np.uint8)
        values[:4], values[10:] = 1, 2
        mask = Image.fromarray(values)
        mask.putpalette(palette)
        mask.save(root / "masks" / f"{number}.png")
    with pytest.raises(
        InputError, match=r"the colour \(0, 200, 0\) is class 2 in the palette of .*0.png, but 1 in that of .*1.png"
    ):
        open_masks(root)


def test_smoothed_masks_are_no_classes(tmp_path: Path) -> None:
    root = _two_values(tmp_path, (0, 1))
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8)).save(root / "masks" / "0.png")
    with pytest.raises(InputError, match="show 256 values and nothing names their classes: smoothed"):
        open_masks(root)
