"""Pictures with any number of labels each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mnedge import tasks
from mnedge.data.tags import check_learnable, check_tags, open_tags, tags_of
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def _pictures(root: Path, tags: list[str]) -> Path:
    """Pictures of noise; tags are "10" for the first of two labels."""
    rows, chance = ["filename, cat, dog"], np.random.default_rng(0)
    root.mkdir(exist_ok=True)
    for number, text in enumerate(tags):
        Image.fromarray(chance.integers(0, 256, (12, 12, 3), np.uint8)).save(root / f"{number}.png")
        rows.append(f"{number}.png, {', '.join(text)}")
    (root / "_classes.csv").write_text("\n".join(rows) + "\n")
    return root


def test_labels_of_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for split in ("train", "valid"):
        (tmp_path / "data").mkdir(exist_ok=True)
        _pictures(tmp_path / "data" / split, ["10", "11", "00"])
    found = open_tags(tmp_path / "data")
    assert found.classes == ("cat", "dog")
    assert tags_of(found, found.split("eval")).tolist() == [[True, False], [True, True], [False, False]]
    assert found.labels.tolist() == [0] * 6
    assert "one-hot CSV (train/_classes.csv); classes 2: cat 4, dog 2; train 3, val 3, test 0" in caplog.text
    assert "2 pictures have no label; they count as a no to each (2.png; 2.png)" in caplog.text


def test_a_drawn_split_shows_rare_labels(tmp_path: Path) -> None:
    found = open_tags(_pictures(tmp_path / "data", ["10"] * 40 + ["11"] * 5 + ["00"] * 10))
    for split, least in (("train", 3), ("eval", 1)):
        assert tags_of(found, found.split(split))[:, 1].sum() >= least
    assert set(found.split("train")) | set(found.split("eval")) | set(found.split("calibration")) == set(range(55))


def test_other_labels_are_another_data_set(tmp_path: Path) -> None:
    root = _pictures(tmp_path / "data", ["10", "01"] * 5)
    before = open_tags(root).fingerprint
    table = root / "_classes.csv"
    table.write_text(table.read_text().replace("0.png, 1, 0", "0.png, 1, 1"))
    assert open_tags(root).fingerprint != before


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        (["10"] * 10 + ["11"], r"too few of \d+ training pictures have 'dog' \([01]\), .*take its column out"),
        (["10"] * 5 + ["11"] * 5, r"too few of \d+ training pictures lack 'cat' \(0\)"),
    ],
)
def test_labels_that_nothing_tells_are_refused(tmp_path: Path, tags: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_tags(open_tags(_pictures(tmp_path / "data", tags)))


def test_what_is_left_must_still_show_every_label(tmp_path: Path) -> None:
    found = open_tags(_pictures(tmp_path / "data", ["10", "01", "11", "00"] * 3))
    check_learnable(found, np.arange(12))
    with pytest.raises(InputError, match=r"have 'cat' \(1\), 'dog' \(1\)"):
        check_learnable(found, np.array([0, 1, 3]))


def test_data_of_other_tasks_is_named(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name / "a.png")
    with pytest.raises(InputError, match=r"holds no labels; they come as CVAT.*; a _classes\.csv"):
        open_tags(tmp_path)
    with pytest.raises(InputError, match="the demo pictures have one class each"):
        tasks.get("tag").open_dataset("demo")
