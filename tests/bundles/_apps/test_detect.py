"""The sketch of a detector, run."""

from typing import Any

from mnedge.bundles import microcontroller
from mnedge.bundles._apps.detect import APP


def test_every_object_has_its_label_score_and_box(run_sketch: Any) -> None:
    lines = run_sketch(APP.sketch, {"LEAST": ""}, "output[0] = turn ? 2 : 0; return 0;")
    assert lines == [
        "objects 0 us",
        "dog 0.500 0.000 0.250 1.000 0.750",
        "hen 0.500 0.000 0.250 1.000 0.750",
        "objects 0 us",
    ]


def test_a_network_that_did_not_run_has_found_nothing(run_sketch: Any) -> None:
    assert run_sketch(APP.sketch, {"LEAST": ""}, "output[0] = 2; return 1;") == ["arena is not aligned 0 us"] * 2


def test_objects_below_the_threshold_are_left_out(run_sketch: Any) -> None:
    network = "output[0] = turn ? 2 : 0; return 0;"
    for threshold, count in (("0.5", 2), ("0.51", 0)):
        least = microcontroller._LEAST.replace("@THRESHOLD@", threshold)
        lines = run_sketch(APP.sketch, {"LEAST": least}, network)
        assert len([line for line in lines if line.startswith(("dog", "hen"))]) == count
