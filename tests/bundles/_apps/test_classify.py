"""The sketch of a classifier, run."""

from typing import Any

from mnedge.bundles import microcontroller
from mnedge.bundles._apps.classify import APP


def test_the_class_of_the_highest_score_is_named(run_sketch: Any) -> None:
    words = {"ANSWER": microcontroller._BEST_CLASS}
    network = "for (int at = 0; at < 4; at++) output[at] = -128; output[turn ? 3 : 1] = -127; return 0;"
    assert run_sketch(APP.sketch, words, network) == ["dog 0 us", "owl 0 us"]


def test_labels_by_themselves_are_a_yes_or_a_no_each(run_sketch: Any) -> None:
    answer = microcontroller._YES_OR_NO.replace("@UPPER@_OUTPUT_SCALE", "0.25f")
    words = {"ANSWER": answer.replace("@THRESHOLD@", "0.5")}
    # 2 is the zero point: from two steps of a quarter on it is a yes.
    network = "for (int at = 0; at < 4; at++) output[at] = 2; output[turn] = 4; output[3] = 3; return 0;"
    lines = run_sketch(APP.sketch, words, network)
    assert [line.split() for line in lines] == [
        ["cat", "yes", "dog", "no", "hen", "no", "owl", "no", "0", "us"],
        ["cat", "no", "dog", "yes", "hen", "no", "owl", "no", "0", "us"],
    ]


def test_an_arena_that_is_not_aligned_is_said(run_sketch: Any) -> None:
    words = {"ANSWER": microcontroller._BEST_CLASS}
    assert run_sketch(APP.sketch, words, "(void)output; return 1;") == ["arena is not aligned 0 us"] * 2
