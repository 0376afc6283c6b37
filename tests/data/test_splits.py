"""Train, validation and test are three; what is drawn is drawn by groups."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mnedge.data import open_dataset
from mnedge.data.check import check_pictures
from mnedge.data.draw import Draw, group_of
from mnedge.data.summary import summary
from mnedge.errors import InputError


def _picture(path: Path, seed: int, shift: int = 0) -> None:
    """A picture of its own; with a shift, the next frame of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    image = Image.fromarray(small).resize((60, 60), Image.Resampling.BICUBIC)
    image.crop((shift, 0, 48 + shift, 48)).save(path)


def _split(root: Path, *names: str, count: int = 3) -> Path:
    for place, split in enumerate(names):
        for index, name in enumerate(("ant", "bee")):
            for number in range(count):
                _picture(root / split / name / f"{number}.png", 1000 * place + 100 * index + number)
    return root


def test_three_splits_are_three(tmp_path: Path) -> None:
    found = open_dataset(str(_split(tmp_path, "train", "val", "test")))
    assert {name: numbers.size for name, numbers in found.splits.items() if name != "calibration"} == {
        "train": 6, "eval": 6, "test": 6,
    }  # fmt: skip
    assert found.is_divided
    assert found.measured == "test"
    assert summary(found).endswith("class folders (2 folders); classes 2: ant 9, bee 9; train 6, val 6, test 6")


def test_val_and_valid_are_not_merged(tmp_path: Path) -> None:
    root = _split(tmp_path, "train", "val", "valid")
    with pytest.raises(InputError, match=r"val/ and valid/ of .* are both val pictures; move one of them away"):
        open_dataset(str(root))


def test_without_validation_pictures_some_are_drawn_and_the_test_stays(tmp_path: Path) -> None:
    found = open_dataset(str(_split(tmp_path, "train", "test", count=10)))
    assert found.splits["test"].size == 20
    assert found.splits["eval"].size == 4
    assert found.drawn == ("eval",)
    assert all(found.sources[number].startswith("train/") for number in found.splits["eval"])
    assert found.measured == "test"


def test_fractions(tmp_path: Path) -> None:
    root = _split(tmp_path / "d", ".", count=20)
    found = open_dataset(str(root), draw=Draw(val_fraction=0.3, test_fraction=0.1))
    assert (found.splits["eval"].size, found.splits["test"].size) == (12, 4)
    every = np.concatenate(list(found.splits.values()))
    assert np.unique(every).size == every.size == 40
    for draw, said in (
        ({"val_fraction": 0.0}, "--val-fraction is 0.0; it is a number above 0"),
        ({"test_fraction": 1.0}, "--test-fraction is 1.0"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"group_by": "("}, r"--group-by '\(' is no regular expression"),
    ):
        with pytest.raises(InputError, match=said):
            Draw(**draw)


@pytest.mark.parametrize(
    ("group_by", "source", "group"),
    [
        ("", "cat/a_1.png", "cat/a_1.png"),
        ("folder", "cat/clip1/001.png", "cat/clip1"),
        ("prefix", "cat/clip7_frame_0012.png", "cat/clip7_frame"),
        ("prefix", "cat/IMG20240101.jpg", "cat/IMG"),
        ("^[^/]+/(clip[0-9]+)_", "cat/clip7_frame_0012.png", "clip7"),
        ("clip[0-9]+", "dog/clip7_1.png", "clip7"),
        ("video(x)?", "dog/a.png", "dog/a.png"),
    ],
)
def test_groups(group_by: str, source: str, group: str) -> None:
    assert group_of(group_by, source) == group


@pytest.mark.parametrize("group_by", ["folder", "^[a-z]+/(clip[0-9]+)/"])
def test_clips_stay_on_one_side(tmp_path: Path, group_by: str) -> None:
    root = tmp_path / "d"
    for index, name in enumerate(("ant", "bee")):
        for clip in range(6):
            for frame in range(4):
                _picture(root / name / f"clip{clip}" / f"{frame}.png", 1000 * index + 100 * clip + frame)
    with pytest.raises(InputError, match=r"ant holds no pictures itself but 6 folders .*--group-by folder"):
        open_dataset(str(root))
    found = open_dataset(str(root), draw=Draw(group_by=group_by))
    sides = {
        split: {source.rpartition("/")[0] for source in (found.sources[number] for number in numbers)}
        for split, numbers in found.splits.items()
    }
    assert not sides["train"] & sides["eval"]
    # By the pattern, clips of one number are one group, also of two classes.
    assert found.splits["eval"].size == (8 if group_by == "folder" else 16)


def test_frames_of_a_burst_stay_on_one_side(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for index, name in enumerate(("ant", "bee", "cow")):
        for scene in range(6):
            for frame in range(4):
                _picture(root / name / f"{scene}-{frame}.png", 1000 * index + 100 * scene, shift=frame)
        with Image.open(root / name / "0-0.png") as image:
            ImageOps.mirror(image).save(root / name / "zz.jpg")
    found = open_dataset(str(root))
    scenes = [
        {f"{found.labels[number]}-{found.sources[number].split('/')[1][:2]}" for number in found.splits[split]}
        for split in ("train", "eval")
    ]
    assert not scenes[0] & scenes[1]
    assert found.splits["eval"].size >= 9
    parts = {
        split: (found.pixels(found.splits[split], side)[0], found.splits[split])
        for split, side in (("train", 40), ("eval", 32))
    }
    _, fresh = check_pictures(found, 32, parts)
    # Nothing has to be thrown out of training any more.
    assert fresh.all()
    apart = open_dataset(str(root), draw=Draw(keeps_twins=False))
    assert apart.splits["eval"].tolist() != found.splits["eval"].tolist()


def test_one_scene_a_class_leaves_nothing_to_validate_on(tmp_path: Path) -> None:
    for index, name in enumerate(("ant", "bee")):
        for frame in range(6):
            _picture(tmp_path / name / f"{frame}.png", 100 * index, shift=frame // 3)
    with pytest.raises(
        InputError, match="no pictures are left for the eval split, since those of each class are one gro"
    ):
        open_dataset(str(tmp_path)).split("eval")
