"""The page of a training: every figure of the report, escaped, with pictures in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.report.training_page import classes_table, curve_plot, mixups, render_training, worst

CLASSES = ("daisy", "<b>rose</b>", "тюльпан")
CONFUSION = np.array([[8, 2, 0], [0, 5, 5], [0, 0, 0]])


def _epoch(phase: str, number: int, top1: float) -> dict[str, Any]:
    scores = {"top1": top1, "loss": 1.0 - top1}
    return {"phase": phase, "number": number, "learning_rate": 1e-3, "loss": 1.5, "scores": scores, "seconds": 1.0}


@pytest.fixture
def report() -> dict[str, Any]:
    history = [
        _epoch("head", 1, 0.4),
        _epoch("head", 2, 0.5),
        _epoch("fine-tune", 1, 0.65),
        _epoch("fine-tune", 2, 0.6),
    ]
    return {
        "task": "classify",
        "metric": "top1",
        "model": {"path": "my.keras"},
        "top1": 0.65,
        "is_complete": True,
        "best": history[2],
        "images": {"train": 1234, "eval": 20},
        "seconds": 12.0,
        "history": history,
        "classes": classes_table(CONFUSION, CLASSES),
        "confusion": {"classes": list(CLASSES), "counts": CONFUSION.tolist()},
        "mixups": mixups(CONFUSION, CLASSES),
        "worst": [
            {
                "source": "val/a & b.png",
                "label": "daisy",
                "predicted": "<b>rose</b>",
                "probability": 0.97,
                "label_probability": 0.01,
            }
        ],
        "findings": {
            "broken": ["train/x.png"],
            "tiny": [{"source": "train/t.png", "width": 5, "height": 7}],
            "blank": [],
            "shared": [
                {"train": "train/s.png", "held": "val/s.png", "correlation": 1.0, "is_mirrored": True,
                 "labels": ["daisy", "тюльпан"]},
            ],
            "without_validation": ["тюльпан"],
            "annotations": [{"what": "boxes were cut", "where": [f"a.xml, object {place}" for place in range(50)]}],
        },
        "suspects": [{"source": "train/m.png", "label": "daisy", "looks_like": "тюльпан", "margin": 1.0}],
        "settings": {
            "variant": {"family": "v2", "alpha": 0.35, "resolution": 96, "classes": 3},
            "data": "flowers",
            "weights": "imagenet",
            "keep_shared": False,
            "epochs": 2,
        },
    }  # fmt: skip


def _show(source: str) -> np.ndarray | None:
    return None if "x.png" in source else np.full((12, 12, 3), 90, np.uint8)


def test_the_page_shows_everything(report: dict[str, Any]) -> None:
    text = render_training(report, _show)
    for expected in (
        "my.keras",
        "65.0 %",
        "1,234 training pictures",
        "97 %",
        "val/a &amp; b.png",
        "train/m.png",
        "5 x 7",
    ):
        assert expected in text, expected
    assert "1 training pictures are in the validation split too; they were left out of training" in text
    assert "filed under daisy and тюльпан" in text
    assert "no validation picture shows тюльпан" in text
    assert "50 boxes were cut." in text
    assert "a.xml, object 0" in text
    assert "and 10 more, in the JSON report" in text
    assert "<b>rose" not in text
    # One worst, one suspect, two of a pair.
    assert text.count("data:image/jpeg;base64,") == 4
    assert "http" not in text.replace("http-equiv", "")


def test_the_page_of_a_perfect_run_without_a_frozen_phase(report: dict[str, Any]) -> None:
    report |= {"worst": [], "suspects": None, "history": report["history"][2:]}
    report["best"] = {**report["best"], "number": 0}
    text = render_training(report, _show)
    assert "every validation picture was told right" in text
    assert "were not looked for" in text
    assert "none of fine-tune was better than what it began with" in text


def test_many_classes_are_listed_by_mixup(report: dict[str, Any]) -> None:
    names = [f"class {place}" for place in range(30)]
    counts = np.eye(30, dtype=np.int64) * 5
    counts[3, 7] = 4
    report["classes"] = classes_table(counts, names)
    report["confusion"] = {"classes": names, "counts": counts.tolist()}
    report["mixups"] = mixups(counts, names)
    text = render_training(report, _show)
    assert 'class="matrix"' not in text
    assert "<td>class 3</td><td>class 7</td>" in text


def test_recall_and_precision() -> None:
    rows = classes_table(CONFUSION, CLASSES)
    assert [(row["images"], row["recall"], row["precision"]) for row in rows] == [
        (10, 0.8, 1.0),
        (10, 0.5, 5 / 7),
        (0, None, 0.0),
    ]
    assert [(row["label"], row["predicted"], row["images"]) for row in mixups(CONFUSION, CLASSES)] == [
        (CLASSES[1], CLASSES[2], 5),
        (CLASSES[0], CLASSES[1], 2),
    ]


def test_the_worst_are_the_surest_of_those_that_are_wrong() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]], np.float32)
    found = worst(probabilities, np.array([0, 1, 2, 0]), ("a", "b", "c", "d"), CLASSES)
    assert [row["source"] for row in found] == ["c", "d", "b"]
    assert found[0]["probability"] == pytest.approx(0.8)


def test_curves_run_through_both_phases(report: dict[str, Any]) -> None:
    plot = curve_plot("Top-1", report["history"], report["best"], {"validation": lambda row: row["scores"]["top1"]})
    assert plot is not None
    (curve,) = plot.curves
    assert [x for x, _ in curve.points] == sorted(x for x, _ in curve.points)
    assert plot.best == curve.points[2][0]
    assert [phase.text for phase in plot.phases] == ["head", "fine-tune"]
    # Better stands higher.
    assert curve.points[2][1] == min(y for _, y in curve.points)
    assert curve_plot("Top-1", [], report["best"], {}) is None
