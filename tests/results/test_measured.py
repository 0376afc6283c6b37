"""What a build keeps of its measurements comes back as it was, figures of any task and what a board said included."""

import json
from dataclasses import replace

import pytest

from mnedge.results.accuracy import AccuracyRow, Figures, MixUp, WorstPicture
from mnedge.results.details import Gallery, GalleryPicture, Measured
from mnedge.results.latency import BoardState, LatencyRow
from mnedge.results.parity import ParityRow
from mnedge.results.report import Int8Row
from mnedge.results.stored import as_json, from_json, to_json


@pytest.fixture
def measured() -> Measured:
    figures = Figures(
        {"map50": 0.5, "map": 0.25},
        {"map50": (0.4, 0.6)},
        {"ap50": {"cat": 0.5, "dog": None}},
        (WorstPicture("a.png", {"right": 1, "missed": 2, "wrong": 0}),),
    )
    state = BoardState({"model": "Pi 5", "cores": 4}, emulated=True, unstable=(), temperature_c=None, clock_mhz=1800.0)
    return Measured(
        accuracy=(AccuracyRow("a.tflite", "litert", "local", "pets", 9, figures, 1),),
        latency=(
            LatencyRow("a.tflite", "litert", "local", 1, 1.5, 2.0, 3.0, 20),
            LatencyRow("a.tflite", "litert", "ssh://pi", 1, 15.0, 20.0, state=state),
        ),
        parity=(ParityRow("a", "b", 9, 1.0, None, None),),
        int8=(Int8Row("a.tflite", 9, None),),
        confusion={"a.tflite": (MixUp("cat", "dog", 2, 0.5), MixUp("dog", "nothing", 1, 0.25, 3))},
        counted="boxes",
        latency_samples={"a.tflite": (1.5, 1.25)},
        warnings=("w",),
        gallery=Gallery("a.tflite", (GalleryPicture("a.png", "1 missed", "data:,"),)),
    )


def test_it_comes_back(measured: Measured) -> None:
    assert from_json(to_json(measured), Measured, "x") == measured
    without = replace(measured, gallery=None, accuracy=())
    assert from_json(to_json(without), Measured, "x") == without


def test_flat_fields_stand_in_their_row(measured: Measured) -> None:
    rows = json.loads(to_json(measured))
    assert rows["accuracy"][0]["map50_interval"] == [0.4, 0.6]
    assert rows["accuracy"][0]["worst"] == [{"source": "a.png", "right": 1, "missed": 2, "wrong": 0}]
    assert "figures" not in rows["accuracy"][0]
    assert "state" not in rows["latency"][0]
    assert rows["latency"][1]["board"] == {"model": "Pi 5", "cores": 4}
    assert (rows["latency"][1]["emulated"], rows["latency"][1]["temperature_c"]) == (True, None)


def test_what_is_absent_is_left_out(measured: Measured) -> None:
    first, second = json.loads(to_json(measured))["confusion"]["a.tflite"]
    assert "objects" not in first
    assert second["objects"] == 3
    assert "differs" not in json.loads(to_json(measured))["parity"][0]


def test_what_has_no_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="a set has no JSON"):
        as_json({"x": {1}})
