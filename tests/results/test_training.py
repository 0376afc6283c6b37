"""The report of a training: written as it always was, read back whole, and refused where it does not fit."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from mnedge.errors import InputError
from mnedge.results import stored
from mnedge.results.accuracy import MixUp
from mnedge.results.outcome import ClassRow, MetPicture
from mnedge.results.training import Epoch, TrainingReport, finite, read_training

if TYPE_CHECKING:
    from pathlib import Path


def _row() -> dict[str, Any]:
    """A report of a detector as mnedge wrote it before it had types, key by key."""
    epoch = {
        "phase": "head", "number": 1, "learning_rate": 0.002, "loss": 3.5, "scores": {"map50": 0.25, "loss": 2.0},
        "seconds": 1.5,
    }  # fmt: skip
    return {
        "schema": 1,
        "task": "detect",
        "metric": "map50",
        "model": {"path": "cells.keras", "bytes": 1234, "sha256": "ab"},
        "map50": 0.25,
        "map": 0.125,
        "best_score": 0.5,
        "classes": [
            {"class": "cat", "boxes": 3, "ap50": 0.5, "ap": 0.25, "images": 2},
            {"class": "dog", "boxes": 0, "ap50": None, "ap": None, "images": 0},
        ],
        "mixups": [{"predicted": "dog", "images": 1, "objects": 2, "fraction": 0.25, "label": "cat"}],
        "worst": [{"source": "a.png", "right": 1, "missed": 2, "wrong": 0, "words": "1 right, 2 missed, 0 wrong"}],
        "is_complete": True,
        "best": epoch,
        "images": {"train": 9, "eval": 2},
        "seconds": 12.5,
        "cpu_seconds": 20.0,
        "history": [epoch],
        "findings": {
            "broken": [], "tiny": [], "blank": [],
            "shared": [
                {"train": "t.png", "held": "v.png", "correlation": 1.0, "is_mirrored": False, "labels": ["", ""]},
            ],
            "without_validation": [], "annotations": [{"what": "boxes were cut", "where": ["a.xml"]}],
        },
        "suspects": None,
        "settings": {
            "variant": {
                "family": "v2", "alpha": 0.35, "resolution": 96, "classes": 2, "head": "ssdlite", "output_stride": 32,
            },
            "data": "cells", "draw": None, "weights": "imagenet", "keep_shared": False,
            "head_epochs": 3, "from_layer": None, "augmentation": {"zoom": [0.65, 1.0], "flip": True},
        },
        "tools": {"keras": "3"},
    }  # fmt: skip


def test_a_report_of_before_is_read_and_written_with_the_same_values(tmp_path: Path) -> None:
    path = tmp_path / "cells.report.json"
    path.write_text(json.dumps(_row()))
    report = read_training(path)
    assert report.score == 0.25
    assert report.outcome.figures == {"map50": 0.25, "map": 0.125, "best_score": 0.5}
    assert report.outcome.classes[0] == ClassRow("cat", 2, {"ap50": 0.5, "ap": 0.25}, boxes=3)
    assert report.outcome.mixups == (MixUp("cat", "dog", 1, 0.25, 2),)
    words = "1 right, 2 missed, 0 wrong"
    assert report.outcome.worst == (MetPicture("a.png", words, counts={"right": 1, "missed": 2, "wrong": 0}),)
    assert report.account.settings.schedule["head_epochs"] == 3
    assert report.account.findings.annotations[0].sentence() == "1 boxes were cut (a.xml)"
    written = json.loads(stored.to_json(report))
    expected = _row()
    # Before the test split was looked at, both were always these.
    expected["findings"]["shared"][0]["splits"] = ["train", "val"]
    assert written == expected
    assert list(written) == list(expected)


def test_it_shows_itself_in_a_notebook() -> None:
    html = stored.from_json(json.dumps(_row()), TrainingReport, "a row")._repr_html_()
    assert "cells.keras" in html
    assert "<td>cat</td><td>2</td><td>0.5</td><td>0.25</td>" in html


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"history": [{"phase": "head"}]}, r"missing required field `number`.*\$\.account\.history\[0\]"),
        ({"images": {"train": "many", "eval": 2}}, r"\$\.account\.images\.train"),
        ({"classes": [{"images": 2}]}, r"\$\.outcome\.classes\[0\]\.name"),
        ({"classes": 7}, r"\$\.outcome\.classes"),
        ({"worst": [1]}, r"\$\.outcome\.worst\[0\]"),
        ({"settings": []}, r"\$\.account\.settings"),
        ({"schema": 2}, "has schema 2, this mnedge reads schema 1"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**_row(), **change}))
    with pytest.raises(InputError, match=said):
        read_training(path)


def test_a_loss_that_diverged_is_no_number_and_still_json() -> None:
    assert [finite(value) for value in (1.5, math.nan, math.inf)] == [1.5, None, None]
    epoch = Epoch("head", 1, 0.1, finite(math.nan), {"top1": 0.5, "loss": None}, 1.0, 20)
    assert stored.from_json(stored.to_json(epoch), Epoch, "an epoch") == epoch
