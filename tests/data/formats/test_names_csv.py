"""Tables of names without indices, as competitions hand them out."""

from pathlib import Path

import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.errors import InputError


def _folder(root: Path, text: str, name: str = "train.csv", folder: str = "") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for picture in ("a.jpg", "b.jpg", "c.jpg"):
        Image.new("RGB", (12, 12)).save(root / folder / picture)
    (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "text",
    [
        "filename,class\na.jpg,dog\nb.jpg,cat\nc.jpg,dog\n",
        "image_id,label\na,dog\nb,cat\nc,dog\n",
        "filename;class\na.jpg;dog\nb.jpg;cat\nc.jpg;dog\n",
        "id_code\tbreed\na\tdog\nb\tcat\nc\tdog\n",
    ],
)
@pytest.mark.parametrize("folder", ["", "train_images"])
def test_names(tmp_path: Path, text: str, folder: str) -> None:
    root = _folder(tmp_path, text, folder=folder)
    for found in (open_dataset(str(root)), open_dataset(str(root / "train.csv"))):
        assert found.classes == ("cat", "dog")
        assert found.labels.tolist() == [1, 0, 1]
        assert found.found is not None
        assert found.found.evidence == "train.csv"


def test_numbers_stand_in_their_order(tmp_path: Path) -> None:
    found = open_dataset(str(_folder(tmp_path, "image_id,label\na.jpg,10\nb.jpg,9\nc.jpg,2\n")))
    assert found.classes == ("2", "9", "10")


def test_a_list_fixes_the_order(tmp_path: Path) -> None:
    root = _folder(tmp_path, "filename,class\na.jpg,dog\nb.jpg,cat\n")
    (root / "labels.txt").write_text("dog\nbird\ncat\n")
    assert open_dataset(str(root)).labels.tolist() == [0, 2]
    (root / "labels.txt").write_text("dog\ncats\n")
    with pytest.raises(
        InputError, match=r"class at .*line 3 \(allowed are those of .*labels.txt\) 'cat'; did you mean"
    ):
        open_dataset(str(root))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filename,class\na.jpg,dog\na.jpg,cat\n", r"line 3: a.jpg is 'cat' here, but 'dog' in .*line 2"),
        ("filename,class\na.jpg,dog\nb.jpg,\n", "line 3: class is empty"),
        ("filename,class\na.jpg,dog\nb.jpg,dog\n", "has one class, 'dog'"),
        ("filename,class\na.jpg,dog\nz.jpg,cat\n", r"names 1 of 2 pictures that are not there \(line 3: z.jpg\)"),
        ("filename,class\n", "lists no pictures"),
    ],
)
def test_what_a_table_may_not_say(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_dataset(str(_folder(tmp_path, text)))
