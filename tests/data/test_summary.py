"""The one line of what a data set holds, said before any work."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mnedge.data import open_dataset
from mnedge.data.boxes import open_boxes
from mnedge.data.draw import Draw


def _pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (40, 20), (number, 0, 0)).save(folder / f"{number}.png")


def test_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, count in (("daisy", 10), ("rose", 20)):
        _pictures(tmp_path / name, count)
    with caplog.at_level(logging.INFO, "mnedge.data"):
        open_dataset(str(tmp_path), draw=Draw(test_fraction=0.1))
    assert caplog.messages[0] == (
        f"{tmp_path}: class folders (2 folders); classes 2: daisy 10, rose 20; train 18, val 6, test 3, calibration 3 "
        "(val and test drawn)"
    )


def test_boxes_and_background(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "val", "test"):
        _pictures(tmp_path / split, 2)
        told = {
            "images": [{"id": n, "file_name": f"{n}.png"} for n in range(2)],
            "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 9, 9]}],
            "categories": [{"id": 1, "name": "cup"}],
        }
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(told))
    with caplog.at_level(logging.INFO, "mnedge.data"):
        open_boxes(tmp_path)
    assert caplog.messages[0] == (
        f"{tmp_path}: COCO JSON (test/_annotations.coco.json); classes 1: cup 3; train 2, val 2, test 2; boxes 3; 3 "
        "background pictures"
    )


def test_the_command_line_says_it_first(tmp_path: Path) -> None:
    _pictures(tmp_path / "daisy", 10)
    _pictures(tmp_path / "rose", 1)
    arguments = ["train", "--data", str(tmp_path), "--weights", "random", "--out", str(tmp_path / "m.keras")]
    ended = subprocess.run(
        [sys.executable, "-m", "mnedge", *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 2
    assert ended.stderr.index("classes 2: daisy 10, rose 1") < ended.stderr.index("too few to train on")
