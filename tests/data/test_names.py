"""Class names that would shift labels.txt are refused, with the place they come from."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.boxes import open_boxes
from mnedge.data.masks import open_masks
from mnedge.data.names import MOST_CLASSES, checked_name, read_names
from mnedge.errors import InputError

_BREAKS = ("\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00", "\x1b", "\x7f")


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12)).save(path)


@pytest.mark.parametrize("letter", _BREAKS)
def test_control_characters_and_line_breaks_are_refused(letter: str) -> None:
    with pytest.raises(InputError, match=r"f\.csv line 3: .*U\+00|f\.csv line 3: .*U\+202"):
        checked_name(f"red{letter}fox", "f.csv line 3")


def test_names_of_any_script_are_taken() -> None:
    for name in ("Müller's fox", "кошка", "猫", "zero\u200djoiner", "a b"):
        assert checked_name(name, "") == name


@pytest.mark.parametrize("letter", [letter for letter in _BREAKS if letter != "\x00"])
def test_folders(tmp_path: Path, letter: str) -> None:
    for name in ("cat", f"red{letter}fox"):
        _picture(tmp_path / name / "0.png")
    with pytest.raises(InputError, match=r"the folder .*: the class name .* has the character U\+"):
        open_dataset(str(tmp_path))


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    for name in ("cat", os.fsdecode(b"caf\xe9")):
        _picture(tmp_path / name / "0.png")
    with pytest.raises(InputError, match=r"has the character U\+DCE9"):
        open_dataset(str(tmp_path))


def _csv(root: Path, text: str) -> str:
    for name in ("a.png", "b.png"):
        _picture(root / name)
    (root / "labels.csv").write_text(text, encoding="utf-8", newline="")
    return str(root / "labels.csv")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('a.png,0,"red\nfox"\nb.png,1,cat\n', r"labels\.csv line 3: .*U\+000A"),
        ("a.png,0,fox\nb.png,1,red\u2028cat\n", r"labels\.csv line 3: .*U\+2028"),
        ("a.png,0,fox\nb.png,20000000,cat\n", rf"line 3: class_index is '20000000'; it is .* to {MOST_CLASSES - 1}"),
        ("a.png,0,fox\nb.png," + "9" * 5000 + ",cat\n", r"line 3: class_index is '9999"),
        ("a.png,0,fox\nb.png,-1,cat\n", "line 3: class_index is '-1'"),
        ("a.png,0,fox\nb.png\n", "line 3: class_index is ''"),
        ("a.png,0,fox\n,1,cat\n", "line 3: no filename"),
        ("a.png,0,fox\nb.png,0,cat\n", r"line 3: class_index 0 is 'cat' here, but 'fox' in line 2"),
        ("a.png,0,fox\n" + "x" * 300 + ".png,1,cat\n", "1 of 2 pictures that are not there"),
    ],
)
def test_tables(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_dataset(_csv(tmp_path, "filename,class_index,class\n" + rows))


def test_lists_beside_a_table(tmp_path: Path) -> None:
    table = _csv(tmp_path, "filename,class_index\na.png,0\nb.png,1\n")
    names = tmp_path / "labels.txt"
    names.write_bytes(b"fox\r\nwild cat\r\n\r\n")
    assert open_dataset(table).classes == ("fox", "wild cat")
    names.write_text("red\u2028fox\ncat\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"labels\.txt line 1: .*U\+2028"):
        open_dataset(table)
    names.write_text("fox\n\ncat\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"labels\.txt line 2 is empty"):
        open_dataset(table)
    names.write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match=r"labels\.txt cannot be read"):
        open_dataset(table)


def test_boxes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        _picture(tmp_path / name)
    table = tmp_path / "labels.csv"
    table.write_text('filename,class,x1,y1,x2,y2\na.png,dog,0,0,5,5\nb.png,"red\nfox",0,0,5,5\n')
    with pytest.raises(InputError, match=r"labels\.csv line 4: .*U\+000A"):
        open_boxes(table)
    table.unlink()
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 0, "name": "red\u2028fox"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 0, "bbox": [0, 0, 5, 5]}],
    }  # fmt: skip
    (tmp_path / "c.json").write_text(json.dumps(coco))
    with pytest.raises(InputError, match=r"c\.json, categories\[0\]: .*U\+2028"):
        open_boxes(tmp_path)


def test_masks(tmp_path: Path) -> None:
    _picture(tmp_path / "images" / "0.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((12, 12), np.uint8)).save(tmp_path / "masks" / "0.png")
    names = tmp_path / "classes.txt"
    for text, said in (
        ("background\nred\u2028fox\n", r"classes\.txt line 2: .*U\+2028"),
        ("0 background\n0 fox\n", r"line 2: class 0 is 'background' already"),
        ("0 background\n" + "9" * 5000 + " fox\n", "numbers its classes"),
    ):
        names.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=said):
            open_masks(tmp_path)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(b"\xef\xbb\xbffox\n")
    assert read_names(tmp_path / "n.txt") == ["fox"]
