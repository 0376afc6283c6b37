"""The page of a training: every figure of the report, escaped, with pictures in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnedge.report.curves import curve_plot
from mnedge.report.training_page import classes_table, mixups, render_training, worst
from mnedge.results.findings import Finding, Findings, Shared, Suspect, Tiny
from mnedge.results.metric import Metric
from mnedge.results.outcome import Confusion, MetPicture, Outcome
from mnedge.results.training import Account, Epoch, Images, ModelFile, Network, Settings, TrainingReport
from mnedge.validation.two_classes import two_classes

CLASSES = ("daisy", "<b>rose</b>", "тюльпан")
CONFUSION = np.array([[8, 2, 0], [0, 5, 5], [0, 0, 0]])


METRICS = (
    Metric("top1", "top-1", is_headline=True),
    Metric("recall", "recall", by_class=True),
    Metric("precision", "precision", by_class=True),
)


def _epoch(phase: str, number: int, top1: float) -> Epoch:
    return Epoch(phase, number, 1e-3, 1.5, {"top1": top1, "loss": 1.0 - top1}, 1.0)


def _outcome(confusion: np.ndarray, classes: tuple[str, ...], *worst: MetPicture) -> Outcome:
    return Outcome(
        figures={"top1": 0.65},
        classes=classes_table(confusion, classes),
        confusion=Confusion(classes, tuple(map(tuple, confusion.tolist()))),
        mixups=mixups(confusion, classes),
        worst=worst,
    )


@pytest.fixture
def report() -> TrainingReport:
    history = (
        _epoch("head", 1, 0.4),
        _epoch("head", 2, 0.5),
        _epoch("fine-tune", 1, 0.65),
        _epoch("fine-tune", 2, 0.6),
    )
    met = MetPicture("val/a & b.png", label="daisy", predicted="<b>rose</b>", probability=0.97, label_probability=0.01)
    return TrainingReport(
        task="classify",
        metric="top1",
        model=ModelFile("my.keras", 3, "00"),
        outcome=_outcome(CONFUSION, CLASSES, met),
        account=Account(
            is_complete=True,
            best=history[2],
            images=Images(1234, 20),
            seconds=12.0,
            cpu_seconds=20.0,
            history=history,
            findings=Findings(
                broken=("train/x.png",),
                tiny=(Tiny("train/t.png", 5, 7),),
                shared=(Shared("train/s.png", "val/s.png", 1.0, is_mirrored=True, labels=("daisy", "тюльпан")),),
                without_validation=("тюльпан",),
                annotations=(Finding("boxes were cut", tuple(f"a.xml, object {place}" for place in range(50))),),
            ),
            suspects=(Suspect("train/m.png", "daisy", "тюльпан", 1.0),),
            settings=Settings(
                Network("v2", 0.35, 96, 3), "flowers", None, "imagenet", keep_shared=False, schedule={"epochs": 2}
            ),
        ),
    )


def _show(source: str) -> np.ndarray | None:
    return None if "x.png" in source else np.full((12, 12, 3), 90, np.uint8)


def test_the_page_shows_everything(report: TrainingReport) -> None:
    text = render_training(report, METRICS, _show)
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
    assert "1 training pictures are in the val or test split too; they were left out of training" in text
    assert "filed under daisy and тюльпан" in text
    assert "no validation picture shows тюльпан" in text
    assert "50 boxes were cut." in text
    assert "a.xml, object 0" in text
    assert "and 10 more, in the JSON report" in text
    assert "<b>rose" not in text
    # One worst, one suspect, two of a pair.
    assert text.count("data:image/jpeg;base64,") == 4
    assert "http" not in text.replace("http-equiv", "")


def test_the_page_of_a_perfect_run_without_a_frozen_phase(report: TrainingReport) -> None:
    account, outcome = report.account, replace(report.outcome, worst=())
    account = replace(account, suspects=None, history=account.history[2:], best=replace(account.best, number=0))
    report = replace(report, account=account, outcome=outcome)
    text = render_training(report, METRICS, _show)
    assert "every validation picture was told right" in text
    assert "were not looked for" in text
    assert "none of fine-tune was better than what it began with" in text


def test_many_classes_are_listed_by_mixup(report: TrainingReport) -> None:
    names = tuple(f"class {place}" for place in range(30))
    counts = np.eye(30, dtype=np.int64) * 5
    counts[3, 7] = 4
    report = replace(report, outcome=_outcome(counts, names))
    text = render_training(report, METRICS, _show)
    assert 'class="matrix"' not in text
    assert "<td>class 3</td><td>class 7</td>" in text


def test_recall_and_precision() -> None:
    rows = classes_table(CONFUSION, CLASSES)
    assert [(row.images, row.figures["recall"], row.figures["precision"]) for row in rows] == [
        (10, 0.8, 1.0),
        (10, 0.5, 5 / 7),
        (0, None, 0.0),
    ]
    assert [(row.truth, row.predicted, row.images) for row in mixups(CONFUSION, CLASSES)] == [
        (CLASSES[1], CLASSES[2], 5),
        (CLASSES[0], CLASSES[1], 2),
    ]


def test_the_worst_are_the_surest_of_those_that_are_wrong() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]], np.float32)
    found = worst(probabilities, np.array([0, 1, 2, 0]), ("a", "b", "c", "d"), CLASSES)
    assert [row.source for row in found] == ["c", "d", "b"]
    assert found[0].probability == pytest.approx(0.8)


def test_curves_run_through_both_phases(report: TrainingReport) -> None:
    history, best = report.account.history, report.account.best
    plot = curve_plot("Top-1", history, best, {"validation": lambda epoch: epoch.scores["top1"]})
    assert plot is not None
    (curve,) = plot.curves
    assert [x for x, _ in curve.points] == sorted(x for x, _ in curve.points)
    assert plot.best == curve.points[2][0]
    assert [phase.text for phase in plot.phases] == ["head", "fine-tune"]
    # Better stands higher.
    assert curve.points[2][1] == min(y for _, y in curve.points)
    assert curve_plot("Top-1", (), best, {}) is None


def test_an_epoch_that_diverged_has_no_point(report: TrainingReport) -> None:
    history, best = report.account.history, report.account.best
    diverged = (*history[:3], replace(history[3], loss=None))
    plot = curve_plot("Loss", diverged, best, {"training": lambda epoch: epoch.loss})
    assert plot is not None
    assert [len(curve.points) for curve in plot.curves] == [3]
    assert curve_plot("Loss", diverged[3:], best, {"training": lambda epoch: epoch.loss}) is None


def test_two_classes_have_curves_and_thresholds(report: TrainingReport) -> None:
    scores = np.array([0.1, 0.2, 0.6, 0.7, 0.9], np.float32)
    curves = two_classes(scores, np.array([False, False, True, False, True]), "<i>ripe</i>")
    assert curves is not None
    shown = replace(report, outcome=replace(report.outcome, two_classes=curves))
    page = render_training(shown, METRICS, _show)
    assert "A threshold for &lt;i&gt;ripe&lt;/i&gt;" in page
    assert "<i>" not in page
    # One line less than points, and a ring for the best threshold, in each plot; no precision without a hit.
    assert page.count('<line class="roc"') == len(curves.points) - 1 + len(curves.points) - 2
    assert page.count('<circle class="roc"') == 2
    assert f"area under the curve {100 * curves.roc_auc:.1f} %" in page
    assert f'<td class="number">{curves.best.threshold:.3f}</td>' in page
    assert any(note.startswith("threshold 0.400 of") for note in shown.notes())
    assert "<strong>Note.</strong> threshold" not in page
    assert "A threshold for" not in render_training(report, METRICS, _show)


def test_augmented_pictures_stand_on_the_page(report: TrainingReport) -> None:
    page = render_training(report, METRICS, _show, [np.zeros((8, 8, 3), np.uint8)] * 5)
    assert page.count('alt="augmented training picture') == 5
    assert "As the network saw them" not in render_training(report, METRICS, _show)
