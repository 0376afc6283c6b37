"""Roboflow's _classes.csv of a classification."""

from pathlib import Path

import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.errors import InputError


def _export(root: Path, *rows: str) -> Path:
    for split in ("train", "valid"):
        (root / split).mkdir(parents=True)
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            Image.new("RGB", (12, 12)).save(root / split / name)
        (root / split / "_classes.csv").write_text("\n".join(["filename, cat, dog", *rows]) + "\n")
    return root


def test_rows(tmp_path: Path) -> None:
    found = open_dataset(str(_export(tmp_path, "a.jpg, 1, 0", "b.jpg, 0, 1", "c.jpg, 0, 1")))
    assert found.classes == ("cat", "dog")
    assert found.fixed_classes
    assert found.labels.tolist() == [0, 1, 1, 0, 1, 1]
    assert found.splits["eval"].tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("b.jpg, 1, 1", r"line 3: b.jpg has 2 classes \(cat, dog\), and classify .*: give --task tag"),
        ("b.jpg, 0, 0", r"line 3: b.jpg has 0 classes \(none\)"),
        ("b.jpg, 0, 2", "line 3: '2' is neither 0 nor 1"),
        ("gone.jpg, 0, 1", "1 of 2 pictures that are not there"),
    ],
)
def test_what_a_row_may_not_say(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_dataset(str(_export(tmp_path, "a.jpg, 1, 0", row)))


def test_a_picture_has_one_row(tmp_path: Path) -> None:
    root = _export(tmp_path, "a.jpg, 1, 0", "a.jpg, 0, 1")
    with pytest.raises(InputError, match=r"line 3: a.jpg stands in .*_classes.csv line 2 already; .*: take one out"):
        open_dataset(str(root))
