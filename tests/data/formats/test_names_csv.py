"""Tables of names without indices, as competitions hand them out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.tags import open_tags, tags_of
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


@pytest.mark.parametrize(
    "text",
    [
        'filename,labels\na.jpg,"cat,dog"\nb.jpg,cat\nc.jpg,\n',
        "filename,labels\na.jpg,cat;dog\nb.jpg,cat\nc.jpg,\n",
        "image;labels\na.jpg;dog | cat\nb.jpg;cat\nc.jpg;\n",
        "image_name,tags\na,dog cat\nb,cat\nc,\n",
        "filename,labels\na.jpg,\"['cat', 'dog']\"\nb.jpg,['cat']\nc.jpg,[]\n",
    ],
)
def test_lists_of_labels(tmp_path: Path, text: str) -> None:
    found = open_tags(_folder(tmp_path, text))
    assert found.classes == ("cat", "dog")
    assert tags_of(found, np.arange(3)).tolist() == [[True, True], [True, False], [False, False]]
    assert any(finding.what.startswith("cells hold several labels, taken apart at") for finding in found.findings)


def test_a_name_of_two_words_is_one_label(tmp_path: Path) -> None:
    found = open_tags(_folder(tmp_path, "image,labels\na,golden retriever\nb,cat\nc,golden retriever\n"))
    assert found.classes == ("cat", "golden retriever")
    (tmp_path / "train.csv").write_text("image,labels\na,rust scab\nb,scab\nc,rust\n")
    assert tags_of(open_tags(tmp_path), np.arange(3)).tolist() == [[True, True], [False, True], [True, False]]


def test_a_list_is_no_class(tmp_path: Path) -> None:
    root = _folder(tmp_path, 'filename,class\na.jpg,"cat,dog"\nb.jpg,cat\nc.jpg,dog\n')
    with pytest.raises(InputError, match=r"line 2: 'cat,dog' is 2 classes, .* give --task tag"):
        open_dataset(str(root))
    # A comma in a name is no list.
    (root / "train.csv").write_text('filename,class\na.jpg,"knife, bread"\nb.jpg,cat\nc.jpg,dog\n')
    assert open_dataset(str(root)).classes == ("cat", "dog", "knife, bread")


def test_a_picture_has_its_labels_in_one_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 3: a.jpg stands in .*line 2 already"):
        open_tags(_folder(tmp_path, "filename,labels\na.jpg,cat\na.jpg,dog\n"))
