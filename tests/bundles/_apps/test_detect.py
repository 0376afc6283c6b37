"""The sketch of a detector, run."""

from typing import Any

from mnedge.bundles._apps.detect import APP


def test_every_object_has_its_label_score_and_box(run_sketch: Any) -> None:
    lines = run_sketch(APP.sketch, {}, "output[0] = turn ? 2 : 0; return 0;")
    assert lines == [
        "objects 0 us",
        "dog 0.500 0.000 0.250 1.000 0.750",
        "hen 0.500 0.000 0.250 1.000 0.750",
        "objects 0 us",
    ]


def test_a_network_that_did_not_run_has_found_nothing(run_sketch: Any) -> None:
    assert run_sketch(APP.sketch, {}, "output[0] = 2; return 1;") == ["arena is not aligned 0 us"] * 2
