"""YOLO as Ultralytics, Roboflow, LabelImg and Label Studio write it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.boxes import open_boxes, read_boxes
from mnedge.data.masks import open_masks
from mnedge.errors import InputError

_BOX = "1 0.5 0.5 0.5 0.5\n0 0.05 0.05 0.1 0.1\n"


def _picture(path: Path, size: tuple[int, int] = (40, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 120, 150)).save(path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _ultralytics(root: Path) -> Path:
    for split, count in (("train", 3), ("val", 1), ("test", 1)):
        for number in range(count):
            _picture(root / "images" / split / f"{number}.jpg")
            _write(root / "labels" / split / f"{number}.txt", _BOX)
    (root / "labels" / "train" / "2.txt").unlink()
    _write(
        root / "data.yaml",
        "path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnames:\n  0: cup\n  1: dog\n",
    )
    return root


def test_ultralytics(tmp_path: Path) -> None:
    found, findings = read_boxes(_ultralytics(tmp_path))
    assert found.classes == ("cup", "dog")
    assert {name: numbers.size for name, numbers in found.splits.items() if name != "calibration"} == {
        "train": 3, "eval": 1, "test": 1,
    }  # fmt: skip
    assert found.draw is None
    assert found.truths is not None
    truth = found.truths(0, 96)
    np.testing.assert_allclose(truth.corners, [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.1, 0.1]], atol=1e-6)
    assert truth.classes.tolist() == [1, 0]
    # A picture without .txt is background.
    assert findings.empty == ("2.jpg",)
    assert open_boxes(tmp_path / "data.yaml").sources == found.sources


def test_roboflow(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        _picture(tmp_path / split / "images" / "a_jpg.rf.0f.jpg")
        _write(tmp_path / split / "labels" / "a_jpg.rf.0f.txt", _BOX)
    _write(
        tmp_path / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['cup', 'dog']\n\n"
        "roboflow:\n  workspace: w\n  version: 1\n",
    )
    _write(tmp_path / "README.roboflow.txt", "x")
    found = open_boxes(tmp_path)
    assert [found.sources[found.splits[name][0]].split("/")[0] for name in ("train", "eval", "test")] == [
        "train", "valid", "test",
    ]  # fmt: skip
    assert found.found is not None
    assert (found.found.format, found.found.evidence) == ("YOLO", "3 YOLO .txt")


def test_labelimg_beside_the_pictures(tmp_path: Path) -> None:
    for number in range(3):
        _picture(tmp_path / f"{number}.png")
        _write(tmp_path / f"{number}.txt", _BOX)
    _write(tmp_path / "classes.txt", "cup\ndog\n")
    found = open_boxes(tmp_path)
    assert found.classes == ("cup", "dog")
    assert found.drawn
    (tmp_path / "classes.txt").unlink()
    unnamed = open_boxes(tmp_path)
    assert unnamed.classes == ("0", "1")
    assert any("have no names" in finding.what for finding in unnamed.findings)


def test_polygons(tmp_path: Path) -> None:
    root = _ultralytics(tmp_path)
    for path in (root / "labels").rglob("*.txt"):
        path.write_text("0 0.0 0.0 0.5 0.0 0.5 1.0 0.0 1.0\n1 0.25 0.5 0.5 0.5 0.5 1.0 0.25 1.0\n")
    found = open_masks(root)
    assert found.classes == ("background", "cup", "dog")
    assert found.truths is not None
    mask = found.truths(0, 0)
    assert mask.shape == (20, 40)
    # The smaller one lies above the larger one.
    assert (mask[:, 20:] == 0).all()
    assert (mask[:9, :20] == 1).all()
    assert (mask[11:, 11:20] == 2).all()
    # A detector takes the boxes around them.
    boxes = open_boxes(root).truths
    assert boxes is not None
    np.testing.assert_allclose(boxes(0, 96).corners, [[0, 0, 1, 0.5], [0.5, 0.25, 1, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2 0.5 0.5 0.5 0.5\n", r"0\.txt line 1: class 2 has no name; there are 2 classes, 0 to 1.*numbered from 0"),
        ("0 20 10 20 10\n", "line 1: 20 10 20 10 are no fractions"),
        ("0 0.5 0.5 0.5 0.5\n0 0.5 0.5\n", "line 2: 2 numbers follow the class"),
        ("0 0.5 0.5 0.5 x\n", "line 1: could not convert"),
        ("-1 0.5 0.5 0.5 0.5\n", "line 1: the class is '-1'"),
        ("0 0.5 0.5 nan 0.5\n", "no fractions"),
        ("0 0.5 0.5 0.5 0.5 0.9\n", "5 numbers follow the class"),
    ],
)
def test_what_a_label_may_not_say(tmp_path: Path, text: str, said: str) -> None:
    root = _ultralytics(tmp_path)
    _write(root / "labels" / "train" / "0.txt", text)
    with pytest.raises(InputError, match=said):
        open_boxes(root)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: images/train\nnc: 3\nnames: [cup, dog]\n", "nc is 3, but it names 2"),
        ("train: images/train\nnames: {0: cup, 2: dog}\n", r"names are numbered \[0, 2\]"),
        ("train: images/train\nnames: [cup, cup]\n", "'cup' stands there twice"),
        ("train: nowhere\nnames: [cup, dog]\n", r"none of its folders is there \(train: nowhere\)"),
        ("train: images/train\nval: images/train\nnames: [cup, dog]\n", "is in train and in val"),
        ("names: [[1]]\n", "Expected"),
        ("names: [\n", "is not YAML"),
    ],
)
def test_what_a_data_yaml_may_not_say(tmp_path: Path, text: str, said: str) -> None:
    root = _ultralytics(tmp_path)
    _write(root / "data.yaml", text)
    with pytest.raises(InputError, match=said):
        open_boxes(root)


def test_boxes_are_no_masks_and_neither_are_classes(tmp_path: Path) -> None:
    from mnedge.data import open_dataset

    root = _ultralytics(tmp_path)
    with pytest.raises(InputError, match=r"0\.txt line 1: it has a box and no outline.*--task detect takes boxes"):
        open_masks(root)
    with pytest.raises(
        InputError, match=r"images/ \(pictures\) and labels/ \(labels\), which are no classes.*--task det"
    ):
        open_dataset(str(root))
