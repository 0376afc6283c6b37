import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.check import check_layout
from mnedge.errors import InputError


def _picture(path: Path, shade: int = 128) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12), (shade, shade, shade)).save(path)


def _folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 20, split: str = "") -> Path:
    for index, name in enumerate(classes):
        for number in range(count):
            _picture(root / split / name / f"{number}.png", 40 * index + number)
    return root


def _csv(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_class_folders_are_split_by_class_without_overlap(tmp_path: Path) -> None:
    found = open_dataset(str(_folder(tmp_path / "d")))
    assert found.classes == ("cat", "dog")
    parts = [set(found.splits[name].tolist()) for name in ("train", "calibration", "eval")]
    assert sum(len(part) for part in parts) == 40
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
    assert np.bincount(found.labels[found.splits["eval"]]).tolist() == [4, 4]


def test_a_drawn_split_does_not_move_when_pictures_are_added(tmp_path: Path) -> None:
    root = _folder(tmp_path / "d")
    before = open_dataset(str(root))
    held = {before.sources[number] for number in before.splits["eval"]}
    for number in range(20, 24):
        _picture(root / "cat" / f"{number}.png", number)
    after = open_dataset(str(root))
    assert before.fingerprint != after.fingerprint
    assert len(held & {after.sources[number] for number in after.splits["train"]}) <= 1


def test_given_splits_are_kept(tmp_path: Path) -> None:
    _folder(tmp_path / "d", split="train", count=5)
    _folder(tmp_path / "d", split="val", count=3)
    found = open_dataset(str(tmp_path / "d"))
    assert found.splits["train"].size == 10
    assert found.splits["eval"].size == 6
    assert set(found.splits["calibration"]) <= set(found.splits["train"])


def test_csv_splits_and_names(tmp_path: Path) -> None:
    rows = []
    for number in range(12):
        _picture(tmp_path / f"{number}.png", number)
        split = ("train", "calibration", "val")[number % 3]
        rows.append({"filename": f"{number}.png", "class_index": number % 2, "class": "ab"[number % 2], "split": split})
    found = open_dataset(str(_csv(tmp_path / "labels.csv", rows)))
    assert found.classes == ("a", "b")
    assert {name: numbers.size for name, numbers in found.splits.items()} == {"train": 4, "calibration": 4, "eval": 4}
    pixels, labels = found.pixels(found.split("eval"), 8)
    assert pixels[:, 0, 0, 0].tolist() == [2, 5, 8, 11]
    assert labels.tolist() == [0, 1, 0, 1]


def test_a_csv_may_name_pictures_by_their_whole_path(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "table").mkdir()
    rows = []
    for number in range(6):
        _picture(tmp_path / "elsewhere" / f"{number}.png", number)
        rows.append({"filename": str(tmp_path / "elsewhere" / f"{number}.png"), "class_index": number % 2})
    found = open_dataset(str(_csv(tmp_path / "table" / "labels.csv", rows)))
    assert found.sources[3] == (tmp_path / "elsewhere" / "3.png").as_posix()
    assert found.read(3, 8)[0, 0, 0] == 3
    check_layout(found)


def test_limit_spreads_over_the_split(tmp_path: Path) -> None:
    found = open_dataset(str(_folder(tmp_path / "d")))
    assert set(found.labels[found.split("train", 4)].tolist()) == {0, 1}


def test_settings_beside_the_pictures(tmp_path: Path) -> None:
    root = _folder(tmp_path / "d")
    plain = open_dataset(str(root)).fingerprint
    (root / "dataset.yaml").write_text("crop_fraction: 1.0\ninterpolation: bicubic\n")
    found = open_dataset(str(root))
    assert (found.preprocessing.crop_fraction, found.preprocessing.interpolation) == (1.0, "bicubic")
    assert found.fingerprint != plain
    for text, said in [
        ("crop: 1", "unknown key"),
        ("crop_fraction: 2", "crop_fraction is 2"),
        ("interpolation: best", "unknown interpolation"),
        ("a: [", "is not YAML"),
    ]:
        (root / "dataset.yaml").write_text(text)
        with pytest.raises(InputError, match=said):
            open_dataset(str(root))


def test_broken_pictures_stop_or_are_left_out(tmp_path: Path) -> None:
    root = _folder(tmp_path / "d")
    (root / "cat" / "notes.jpg").write_text("hello")
    (root / ".hidden").write_text("x")
    found = open_dataset(str(root))
    every = np.arange(found.labels.size)
    with pytest.raises(InputError, match=r"notes\.jpg is broken or not a picture.*--skip-broken"):
        found.pixels(every, 8)
    kept, labels = open_dataset(str(root), skip_broken=True).pixels(every, 8)
    assert len(kept) == len(labels) == 40


@pytest.mark.parametrize("case", ["nothing", "empty", "one class", "empty class", "missing"])
def test_unusable_folders(tmp_path: Path, case: str) -> None:
    root = tmp_path / "d"
    said = {
        "nothing": "does not exist; --data takes a folder",
        "empty": "holds no classes; they come as a folder with one folder per class.*It holds no files",
        "one class": "has one class, 'cat'",
        "empty class": r"bird holds no files",
        "missing": "does not exist",
    }[case]
    if case == "empty":
        root.mkdir()
    elif case == "one class":
        _folder(root, ("cat",))
    elif case == "empty class":
        _folder(root)
        (root / "bird").mkdir()
    with pytest.raises(InputError, match=said):
        open_dataset(str(root))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"filename": "gone.png", "class_index": 0}, {"filename": "x.png", "class_index": 1}], r"1 of 2.*2: gone"),
        ([{"filename": "x.png", "class_index": -1}], "line 2: class_index is '-1'"),
        ([{"filename": "x.png", "class_index": "cat"}], "line 2: class_index is 'cat'"),
        ([{"filename": "x.png", "class_index": 0}], "has one class, 0"),
        ([{"file": "x.png", "class_index": 0}], "no column 'filename'; it has file, class_index"),
        ([{"filename": "x.png", "class_index": 0, "split": "lesson"}], "line 2: split 'lesson' is not one of"),
    ],
)  # fmt: skip
def test_unusable_csv(tmp_path: Path, rows: list[dict[str, object]], said: str) -> None:
    _picture(tmp_path / "x.png")
    with pytest.raises(InputError, match=said):
        open_dataset(str(_csv(tmp_path / "labels.csv", rows)))


def test_an_index_beyond_the_names_is_said(tmp_path: Path) -> None:
    for name in "ab":
        _picture(tmp_path / f"{name}.png")
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    rows = [{"filename": "a.png", "class_index": 0}, {"filename": "b.png", "class_index": 7}]
    with pytest.raises(InputError, match="class_index 7, but its list of names has 2"):
        open_dataset(str(_csv(tmp_path / "labels.csv", rows)))


@pytest.mark.shared
def test_the_real_pictures(shared_data: Path) -> None:
    found = open_dataset(str(shared_data / "imagenet" / "labels.csv"))
    assert {name: numbers.size for name, numbers in found.splits.items()} == {
        "train": 500,
        "calibration": 200,
        "eval": 800,
    }
    assert len(found.classes) == 1000
    assert found.classes[0].startswith("tench")
    assert found.preprocessing.crop_fraction == 1.0
