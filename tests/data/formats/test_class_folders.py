"""Shapes of folders: recognised or refused with what to give, never guessed."""

from pathlib import Path

import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.boxes import open_boxes
from mnedge.data.masks import open_masks
from mnedge.errors import InputError


def _pictures(folder: Path, count: int = 4) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (12, 12), (number, 0, 0)).save(folder / f"{number}.png")


def test_folders_within_classes_may_be_the_classes(tmp_path: Path) -> None:
    for name in ("pets/cat", "pets/dog", "birds/owl", "birds/crow"):
        _pictures(tmp_path / name)
    with pytest.raises(
        InputError, match=r"birds holds no pictures itself but 2 folders of pictures \(crow, owl\); give --d"
    ):
        open_dataset(str(tmp_path))
    assert open_dataset(str(tmp_path / "pets")).classes == ("cat", "dog")


def test_wrapped_splits_of_kaggle(tmp_path: Path) -> None:
    for split in ("training_set", "test_set"):
        for name in ("cats", "dogs"):
            _pictures(tmp_path / split / split / name, 10)
    found = open_dataset(str(tmp_path))
    assert found.classes == ("cats", "dogs")
    assert (found.splits["test"].size, found.splits["eval"].size) == (20, 4)


def test_a_folder_in_a_folder_is_the_folder(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        _pictures(tmp_path / "animals" / "animals" / name)
    assert open_dataset(str(tmp_path)).classes == ("cats", "dogs")


def test_a_class_called_train(tmp_path: Path) -> None:
    for name in ("bus", "car", "train"):
        _pictures(tmp_path / name)
    assert open_dataset(str(tmp_path)).classes == ("bus", "car", "train")


def test_folders_beside_the_splits_are_told(tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "val/cat", "val/dog", "extra"):
        _pictures(tmp_path / name)
    found = open_dataset(str(tmp_path))
    assert {finding.what: finding.where for finding in found.findings} == {
        "folders beside those of the splits were left out": ("extra",)
    }


def test_what_systems_leave_behind_is_nothing(tmp_path: Path) -> None:
    for name in ("cat", "dog", "__MACOSX", "@eaDir", ".git"):
        _pictures(tmp_path / name)
    (tmp_path / "cat" / "desktop.ini").write_text("x")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "dog" / "notes.txt").write_text("x")
    found = open_dataset(str(tmp_path))
    assert found.classes == ("cat", "dog")
    assert len(found.sources) == 8
    assert [(finding.what, finding.where) for finding in found.findings] == [
        ("files are no pictures and were left out", ("dog/notes.txt",))
    ]


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("images", "masks"), r"images/ \(pictures\) and masks/ \(masks\), which are no classes; give --task segment"),
        (("images", "labels"), "which are no classes; give --task detect"),
        (("JPEGImages", "Annotations"), "which are no classes; give --task detect"),
        (("train/images", "train/labels", "valid/images", "valid/labels"), "which are no classes; give --task detect"),
    ],
)
def test_folders_of_other_tasks(tmp_path: Path, folders: tuple[str, ...], said: str) -> None:
    for name in folders:
        _pictures(tmp_path / name)
    with pytest.raises(InputError, match=said):
        open_dataset(str(tmp_path))


def test_annotations_beside_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        _pictures(tmp_path / name)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "0.xml").write_text("<annotation></annotation>")
    with pytest.raises(InputError, match=r"holds Annotations/ \(annotations\) beside the classes' folders"):
        open_dataset(str(tmp_path))


def test_what_was_there_instead_is_said(tmp_path: Path) -> None:
    for number in range(30):
        Image.new("RGB", (12, 12)).save(tmp_path / f"{number}.jpg")
        (tmp_path / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(
        InputError, match=r"holds no classes.* It holds 30 .jpg, 30 .txt \(30 YOLO .txt: YOLO, which --task d"
    ):
        open_dataset(str(tmp_path))
    for path in tmp_path.glob("*.txt"):
        path.unlink()
    with pytest.raises(InputError, match=r"holds no boxes; .* It holds 30 .jpg$"):
        open_boxes(tmp_path)
    with pytest.raises(InputError, match=r"holds no masks; .* It holds 30 .jpg$"):
        open_masks(tmp_path)
