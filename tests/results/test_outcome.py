"""Outcomes of a training: figures beside the tables in JSON, and values of their own here."""

from __future__ import annotations

import json

import pytest

from mnedge.errors import InputError
from mnedge.results import stored
from mnedge.results.accuracy import MixUp
from mnedge.results.outcome import ClassRow, Confusion, MetPicture, Outcome


def _outcome() -> Outcome:
    return Outcome(
        figures={"top1": 0.5, "macro_f1": 0.25},
        classes=(ClassRow("cat", 2, {"recall": 0.5}), ClassRow("dog", 0, {"recall": None})),
        confusion=Confusion(("cat", "dog"), ((1, 1), (0, 0))),
        mixups=(MixUp("cat", "dog", 1, 0.5),),
        worst=(MetPicture("a.png", label="cat", predicted="dog", probability=0.75, counts={"iou": 0.5}),),
    )


def test_figures_and_counts_stand_beside_the_tables_and_the_truth_is_called_label() -> None:
    row = json.loads(stored.to_json(_outcome()))
    assert (row["top1"], row["macro_f1"]) == (0.5, 0.25)
    assert row["classes"][0] == {"class": "cat", "images": 2, "recall": 0.5}
    assert row["mixups"][0]["label"] == "cat"
    assert row["worst"] == [{"source": "a.png", "label": "cat", "predicted": "dog", "probability": 0.75, "iou": 0.5}]


def test_it_is_read_back_as_it_was() -> None:
    assert stored.from_json(stored.to_json(_outcome()), Outcome, "a row") == _outcome()


def test_what_the_outcome_has_not_measured_is_no_figure() -> None:
    row = {"schema": 1, "seconds": 2.0, "cpu_seconds": 3.0, "is_complete": True, "map": 0.5, "classes": []}
    assert stored.from_json(json.dumps(row), Outcome, "a row").figures == {"map": 0.5}
    with pytest.raises(InputError, match="classes"):
        stored.from_json('{"classes": 7}', Outcome, "a row")
