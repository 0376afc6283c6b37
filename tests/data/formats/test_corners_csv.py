"""CSV files of corners as Roboflow and TensorFlow's tutorials write them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data.boxes import open_boxes
from mnedge.errors import InputError


def _split(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 20)).save(folder / name)
    (folder / "_annotations.csv").write_text(text)


_HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def test_roboflow(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        _split(tmp_path / split, _HEADER + "a.jpg,40,20,dog,10,5,30,15\nb.jpg,40,20,cup,0,0,4,2\n")
    found = open_boxes(tmp_path)
    assert found.classes == ("cup", "dog")
    assert {name: numbers.tolist() for name, numbers in found.splits.items() if name != "calibration"} == {
        "train": [2, 3], "eval": [4, 5], "test": [0, 1],
    }  # fmt: skip
    assert found.truths is not None
    np.testing.assert_allclose(found.truths(2, 96).corners, [[0.25, 0.25, 0.75, 0.75]])
    assert found.found is not None
    assert found.found.counts == (3, 3)


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    _split(tmp_path, "filename;class;xmin;ymin;xmax;ymax\na.jpg;dog;10,0;5;30;15\nb.jpg;cup;0;0;4;2\n")
    found = open_boxes(tmp_path).truths
    assert found is not None
    np.testing.assert_allclose(found(0, 96).corners, [[0.25, 0.25, 0.75, 0.75]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            _HEADER + "a.jpg,80,20,dog,10,5,30,15\nb.jpg,40,20,cup,0,0,4,2\n",
            "has boxes for 80 x 20 pixels, but a.jpg is 40",
        ),
        ("filename,width,height,xmin,ymin,xmax,ymax\na.jpg,40,20,1,1,2,2\n", "line 1: no column 'class'"),
        (_HEADER + "a.jpg,40,20,dog,10,5,30\nb.jpg,40,20,cup,0,0,4,2\n", "line 2: ymax is ''"),
        ("filename,class,xmin,xmin,ymin,xmax,ymax\n", "two columns are called 'xmin'"),
    ],
)
def test_what_it_may_not_say(tmp_path: Path, text: str, said: str) -> None:
    _split(tmp_path, text)
    with pytest.raises(InputError, match=said):
        open_boxes(tmp_path)
