"""Tables of class indices that contradict themselves or their list of names."""

from pathlib import Path

import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.errors import InputError


def _table(root: Path, *rows: str, labels: str = "", header: str = "filename,class_index,class") -> str:
    for name in "abcd":
        Image.new("RGB", (12, 12)).save(root / f"{name}.png")
    if labels:
        (root / "labels.txt").write_text(labels)
    (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return str(root / "labels.csv")


@pytest.mark.parametrize(
    ("rows", "labels", "said"),
    [
        (
            ("a.png,0,cat", "b.png,1,dog", "c.png,0,bird"),
            "",
            "line 4: class_index 0 is 'bird' here, but 'cat' in line 2",
        ),
        (("a.png,0,cat", "b.png,1,cat"), "", "line 3: class_index 1 is 'cat', and so is class_index 0"),
        (
            ("a.png,0,cat", "b.png,1,dog"),
            "dog\ncat\n",
            r"line 2: class_index 0 is 'cat', but labels.txt line 1 says 'dog'",
        ),
        (
            ("a.png,1,cat", "b.png,2,dog"),
            "",
            "numbers its classes from 1 to 2, and class_index begins with 0; subtract 1",
        ),
        (("a.png,1,cat", "b.png,2,dog"), "cat\ndog\n", "class_index 2, but its list of names has 2 classes, 0 to 1"),
    ],
)
def test_contradictions(tmp_path: Path, rows: tuple[str, ...], labels: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_dataset(_table(tmp_path, *rows, labels=labels))


def test_synonyms_agree(tmp_path: Path) -> None:
    table = _table(tmp_path, "a.png,0,tench", "b.png,1,dog", labels="tench, Tinca tinca\ndog\n")
    assert open_dataset(table).classes == ("tench, Tinca tinca", "dog")


def test_gaps_are_told(tmp_path: Path) -> None:
    found = open_dataset(_table(tmp_path, "a.png,0,cat", "b.png,3,dog"))
    assert found.classes == ("cat", "1", "2", "dog")
    assert found.findings[0].where == ("1", "2")


def test_a_table_in_a_folder_of_classes_is_what_counts(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (12, 12)).save(tmp_path / name / "0.png")
    _table(tmp_path, "a.png;0;cat", "b.png;1;dog", header="filename;class_index;class")
    found = open_dataset(str(tmp_path))
    assert found.classes == ("cat", "dog")
    assert found.sources == ("a.png", "b.png")
