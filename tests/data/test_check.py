"""Folders that are wrong in every way that folders are."""

from __future__ import annotations

import shutil
from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.check import check_layout, check_pictures
from mnedge.data.draw import Draw
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.dataset import Dataset
    from mnedge.results.findings import Findings


def _picture(path: Path, seed: int, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path)


def _split_folder(root: Path) -> Path:
    for split, count in (("train", 6), ("val", 3)):
        for index, name in enumerate(("ant", "bee")):
            for number in range(count):
                _picture(root / split / name / f"{number}.png", seed=1000 * count + 100 * index + number)
    return root


def _checked(root: Path, *, skip_broken: bool = False) -> tuple[Dataset, Findings, np.ndarray]:
    dataset = open_dataset(str(root), skip_broken=skip_broken)
    parts = {}
    for split, side in (("train", 40), ("eval", 32), ("test", 32)):
        if split in dataset.splits:
            read = list(dataset.stream(dataset.split(split), side))
            parts[split] = np.stack([pixels for _, pixels in read]), np.array([number for number, _ in read])
    return dataset, *check_pictures(dataset, 32, parts)


def test_a_good_folder_has_nothing_to_find(tmp_path: Path) -> None:
    root = _split_folder(tmp_path / "d")
    check_layout(open_dataset(str(root)))
    _, findings, fresh = _checked(root)
    assert not any(astuple(findings))
    assert fresh.all()


def test_what_is_in_train_and_validation_both_is_named(tmp_path: Path) -> None:
    root = _split_folder(tmp_path / "d")
    with Image.open(root / "val/bee/1.png") as image:
        image.resize((90, 90)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "train/ant/copy.jpg")
    dataset, findings, fresh = _checked(root)
    (shared,) = findings.shared
    assert (shared.splits, shared.train, shared.held) == (("train", "val"), "train/ant/copy.jpg", "val/bee/1.png")
    assert shared.is_mirrored
    # The two folders contradict each other.
    assert shared.labels == ("ant", "bee")
    numbers = dataset.split("train")
    assert [dataset.sources[number] for number in numbers[~fresh]] == ["train/ant/copy.jpg"]


def test_what_the_test_split_has_too_is_not_learned(tmp_path: Path) -> None:
    root = _split_folder(tmp_path / "d")
    for index, name in enumerate(("ant", "bee")):
        _picture(root / "test" / name / "0.png", seed=7000 + index)
    for source, copy in (("train/bee/2.png", "test/bee/t.png"), ("val/ant/1.png", "test/ant/v.png")):
        shutil.copy(root / source, root / copy)
    dataset, findings, fresh = _checked(root)
    assert [(shared.splits, shared.train, shared.held) for shared in findings.shared] == [
        (("train", "test"), "train/bee/2.png", "test/bee/t.png"),
        (("val", "test"), "val/ant/1.png", "test/ant/v.png"),
    ]
    # What val and test share was not learned, and has only to be told.
    assert [dataset.sources[number] for number in dataset.split("train")[~fresh]] == ["train/bee/2.png"]


def test_a_copy_is_found_where_resampling_hides_it(tmp_path: Path) -> None:
    """Noise of single pixels is another one at another side."""
    root = _split_folder(tmp_path / "d")
    noise = np.random.default_rng(0).integers(0, 256, (47, 47, 3), np.uint8)
    for split in ("train", "val"):
        Image.fromarray(noise).save(root / split / "ant" / "noise.png")
    _, findings, _ = _checked(root)
    assert [(shared.train, shared.held) for shared in findings.shared] == [("train/ant/noise.png", "val/ant/noise.png")]


def test_tiny_blank_and_broken_pictures_are_named(tmp_path: Path) -> None:
    root = _split_folder(tmp_path / "d")
    _picture(root / "train/bee/tiny.png", seed=1, side=9)
    Image.new("RGB", (50, 50), "green").save(root / "val/ant/green.png")
    (root / "train/ant/notes.jpg").write_text("not a picture")
    _, findings, _ = _checked(root, skip_broken=True)
    assert [(tiny.source, tiny.width, tiny.height) for tiny in findings.tiny] == [("train/bee/tiny.png", 9, 9)]
    assert findings.blank == ("val/ant/green.png",)
    assert findings.broken == ("train/ant/notes.jpg",)


def test_a_class_without_validation_pictures_is_named(tmp_path: Path) -> None:
    root = _split_folder(tmp_path / "d")
    rows = ["filename,class_index,class,split"]
    rows += [f"train/{name}/{n}.png,{i},{name},train" for i, name in enumerate(("ant", "bee")) for n in range(6)]
    (root / "labels.csv").write_text("\n".join([*rows, "val/ant/0.png,0,ant,val"]))
    assert _checked(root / "labels.csv")[1].without_validation == ("bee",)


def test_three_pictures_are_too_few(tmp_path: Path) -> None:
    for seed, name in enumerate(("ant/0.png", "ant/1.png", "bee/0.png")):
        _picture(tmp_path / "d" / name, seed)
    with pytest.raises(InputError, match=r"has 3 pictures.*'ant' has 1, 'bee' has 1 in the train split"):
        check_layout(open_dataset(str(tmp_path / "d")))


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    root = _split_folder(tmp_path / "d")
    _picture(tmp_path / "elsewhere" / "secret.png", seed=3)
    (root / "train/ant/link.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    with pytest.raises(InputError, match=r"1 links that lead out of it \(train/ant/link\.png -> .*secret\.png"):
        check_layout(open_dataset(str(root)))
    (root / "train/ant/link.png").unlink()
    # A link within the folder is harmless, and so is a folder that is reached by one.
    (root / "train/ant/link.png").symlink_to(root / "train/ant/0.png")
    (tmp_path / "other").symlink_to(root)
    check_layout(open_dataset(str(tmp_path / "other")))


def test_a_linked_class_folder_is_refused(tmp_path: Path) -> None:
    root = _split_folder(tmp_path / "d")
    _picture(tmp_path / "elsewhere" / "1.png", seed=3)
    for split in ("train", "val"):
        (root / split / "cat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="2 links that lead out of it"):
        check_layout(open_dataset(str(root)))


def test_names_in_any_script(tmp_path: Path) -> None:
    names = ("Καμηλοπάρδαλη", "кот", "犬", "قطة", "naïve fish 🐟")
    for index, name in enumerate(names):
        for number in range(12):
            _picture(tmp_path / "d" / name / f"фото {number}.png", seed=50 * index + number)
    dataset = open_dataset(str(tmp_path / "d"))
    check_layout(dataset)
    assert set(dataset.classes) == set(names)


def test_another_split_seed_draws_other_validation_pictures(tmp_path: Path) -> None:
    for index, name in enumerate(("ant", "bee")):
        for number in range(30):
            _picture(tmp_path / "d" / name / f"{number}.png", seed=50 * index + number)
    first, again, other = (open_dataset(str(tmp_path / "d"), draw=Draw(seed)) for seed in (0, 0, 1))
    assert first.splits["eval"].tolist() == again.splits["eval"].tolist() != other.splits["eval"].tolist()
    assert np.bincount(other.labels[other.splits["eval"]]).tolist() == [6, 6]
    assert (first.draw, other.draw) == (Draw(0), Draw(1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert open_dataset(str(_split_folder(tmp_path / "own")), draw=Draw(1)).draw is None


def test_a_csv_may_name_pictures_elsewhere_openly(tmp_path: Path) -> None:
    root = _split_folder(tmp_path / "d")
    rows = ["filename,class_index"]
    rows += [f"../d/train/{name}/{n}.png,{i}" for i, name in enumerate(("ant", "bee")) for n in range(6)]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "labels.csv").write_text("\n".join(rows))
    check_layout(open_dataset(str(tmp_path / "lists" / "labels.csv")))
    assert root.is_dir()
