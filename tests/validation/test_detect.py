from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.data.boxes import Boxes
from mnedge.data.detections import Detections
from mnedge.devices import ModelInfo
from mnedge.errors import InputError
from mnedge.runtimes import TensorSpec
from mnedge.validation import detect as v
from mnedge.validation.parity import parity_row
from mnedge.validation.predict import Predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLASSES = ("cup", "dog", "fork")


def _truth(rows: list[tuple[float, ...]], crowd: tuple[bool, ...] = ()) -> Boxes:
    table = np.array(rows, np.float32).reshape(-1, 5)
    flags = np.array(crowd or [False] * len(table), bool)
    return Boxes(table[:, :4], table[:, 4].astype(np.int64), flags, (320, 240))


def _found(rows: Sequence[tuple[float, ...]]) -> Detections:
    table = np.array(sorted(rows, key=lambda row: -row[5]), np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4].astype(np.int64), table[:, 5])


def test_perfect_detections_and_none() -> None:
    truths = [_truth([(0.1, 0.1, 0.4, 0.4, 0), (0.5, 0.5, 0.9, 0.7, 1)]), _truth([(0.2, 0.2, 0.6, 0.9, 1)])]
    found = [
        Detections(truth.corners, truth.classes, np.linspace(0.9, 0.5, len(truth.classes)).astype(np.float32))
        for truth in truths
    ]
    figures = v.average_precisions(found, truths, _CLASSES)
    assert (figures.map50, figures.map) == pytest.approx((1.0, 1.0))
    assert [row.ap50 and round(row.ap50, 6) for row in figures.classes] == [1.0, 1.0, None]
    assert [row.boxes for row in figures.classes] == [1, 2, 0]
    nothing = v.average_precisions([_found([])] * 2, truths, _CLASSES)
    assert nothing.map50 == 0.0
    assert v.bootstrap(found, truths, _CLASSES) == pytest.approx((1.0, 1.0))


def test_average_precision_by_hand() -> None:
    # Three cups: found, wrong, found. Precision at recall 1/3 is 1, at 2/3 it is 2/3, beyond 0.
    truths = [_truth([(0.0, 0.0, 0.2, 0.2, 0), (0.4, 0.4, 0.6, 0.6, 0), (0.8, 0.8, 1.0, 1.0, 0)])]
    found = [_found([(0.0, 0.0, 0.2, 0.2, 0, 0.9), (0.2, 0.7, 0.4, 0.9, 0, 0.8), (0.4, 0.4, 0.6, 0.6, 0, 0.7)])]
    figures = v.average_precisions(found, truths, ("cup",))
    # 101 recalls: 0 to 0.33 see precision 1 (34), 0.34 to 0.66 see 2/3 (33).
    assert figures.map50 == pytest.approx((34 + 33 * 2 / 3) / 101, abs=1e-6)


def test_crowds_are_neither_found_nor_missed() -> None:
    truths = [_truth([(0.0, 0.0, 0.2, 0.2, 0), (0.5, 0.0, 1.0, 1.0, 0)], crowd=(False, True))]
    found = [_found([(0.0, 0.0, 0.2, 0.2, 0, 0.5), (0.6, 0.1, 0.7, 0.2, 0, 0.9)])]
    assert v.average_precisions(found, truths, ("cup",)).map50 == pytest.approx(1.0)
    assert v.errors(found[0], truths[0], 0.1) == {"right": 1, "missed": 0, "wrong": 0}


def test_errors_and_the_worst_picture() -> None:
    good = _truth([(0.0, 0.0, 0.2, 0.2, 0)]), _found([(0.0, 0.0, 0.2, 0.2, 0, 0.9), (0.5, 0.5, 0.6, 0.6, 0, 0.2)])
    # The right place, twice, and once as another class.
    bad = (
        _truth([(0.0, 0.0, 0.2, 0.2, 0)]),
        _found([(0.0, 0.0, 0.2, 0.2, 1, 0.9), (0.5, 0.5, 0.6, 0.6, 0, 0.8)]),
    )
    twice = _truth([(0.0, 0.0, 0.2, 0.2, 0)]), _found([(0.0, 0.0, 0.2, 0.2, 0, s) for s in (0.9, 0.8)])
    assert v.errors(good[1], good[0], 0.5) == {"right": 1, "missed": 0, "wrong": 0}
    assert v.errors(bad[1], bad[0], 0.5) == {"right": 0, "missed": 1, "wrong": 2}
    assert v.errors(twice[1], twice[0], 0.5) == {"right": 1, "missed": 0, "wrong": 1}
    pairs = [good, bad, twice]
    ranked = v.worst([found for _, found in pairs], [truth for truth, _ in pairs], 0.5)
    assert [place for place, _ in ranked] == [1, 2]
    assert 0.2 <= v.best_score([good[1]], [good[0]]) <= 0.9


def _said(rows: Sequence[tuple[float, ...]]) -> Predictions:
    """What a file with post-processing in it says of one picture: room for three objects."""
    found = _found(rows)
    count = len(found.scores)
    boxes, classes, scores = (np.zeros((1, 3, *shape), np.float32) for shape in ((4,), (), ()))
    boxes[0, :count], classes[0, :count], scores[0, :count] = found.corners, found.classes, found.scores
    others = (classes, scores, np.array([count], np.float32))
    shapes = {"boxes": (1, 3, 4), "classes": (1, 3), "scores": (1, 3), "count": (1,)}
    specs = tuple(TensorSpec(name, shape, "float32") for name, shape in shapes.items())
    info = ModelInfo("test", None, TensorSpec("image", (1, 8, 8, 3), "float32"), specs)
    return Predictions(boxes, others, 0.0, np.zeros(1, np.int64), np.zeros(1, np.int64), info, "local")


def test_two_artifacts_that_find_the_same() -> None:
    rows = [(0.0, 0.0, 0.2, 0.2, 0, 0.9), (0.5, 0.5, 0.9, 0.9, 1, 0.6)]
    faint = (0.5, 0.0, 0.9, 0.3, 1, 0.1)
    moved = [(0.01, 0.0, 0.21, 0.2, 0, 0.7), rows[1], faint]
    other = [rows[0], (*rows[1][:4], 0, 0.6)]
    assert v.same_objects(_said(rows), _said(moved)).tolist() == [1.0]
    assert v.same_objects(_said(rows), _said(other)).tolist() == [0.5]
    assert v.same_objects(_said([]), _said([faint])).tolist() == [1.0]
    row = parity_row(_said(rows), _said(moved), names=("a", "b"), agreement=v.same_objects)
    assert row.top1_agreement == 1.0
    # Of post-processing the scores are compared, rank by rank.
    assert row.max_abs_error == pytest.approx(0.2, abs=1e-6)


def test_what_is_no_detector_is_named() -> None:
    said = replace(_said([]), others=())
    with pytest.raises(InputError, match=r"is no detector: its outputs are 3x4; they are scores"):
        v.found_in(said)


def test_missed_seen_and_mixed_up() -> None:
    truths = [_truth([(0.0, 0.0, 0.2, 0.2, 0), (0.5, 0.5, 0.9, 0.9, 1), (0.0, 0.5, 0.2, 0.9, 1)])]
    found = [
        _found([(0.0, 0.0, 0.2, 0.2, 2, 0.9), (0.5, 0.5, 0.9, 0.9, 1, 0.8), (0.5, 0.0, 0.7, 0.2, 0, 0.7)]),
    ]
    rows = {(row.truth, row.predicted): row for row in v.mixups(found, truths, _CLASSES, 0.5)}
    assert set(rows) == {("cup", "fork"), ("dog", "nothing"), ("nothing", "cup")}
    assert rows["dog", "nothing"].fraction == 0.5
    assert all(row.images == row.objects == 1 for row in rows.values())


def test_the_interval_holds_the_figure() -> None:
    rng = np.random.default_rng(0)
    truths, found = [], []
    for _ in range(30):
        row = (0.2, 0.2, 0.5, 0.5, float(rng.integers(2)))
        truths.append(_truth([row]))
        found.append(_found([(*row[:4], row[4] if rng.random() < 0.7 else 1 - row[4], float(rng.random()))]))
    figure = v.average_precisions(found, truths, _CLASSES[:2]).map50
    low, high = v.bootstrap(found, truths, _CLASSES[:2])
    assert 0 < low < figure < high < 1
