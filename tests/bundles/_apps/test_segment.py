"""The sketch of a segmenter, run."""

from typing import Any

from mnedge.bundles import microcontroller
from mnedge.bundles._apps.segment import APP


def test_shares_of_scores_pixel_by_pixel(run_sketch: Any) -> None:
    words = {
        "CLASS_OF": microcontroller._BEST_OF_PIXEL,
        "PIXELS": "(@UPPER@_OUTPUT_BYTES / @CLASSES@)",
        "CLASSES": "2",
    }
    # Two pixels of two classes: the first turn has one of each, the second two of the second class.
    network = "output[0] = turn ? -5 : 5; output[1] = 0; output[2] = -1; output[3] = 1; return 0;"
    assert run_sketch(APP.sketch, words, network) == [
        "cat 50.0 %", "dog 50.0 %", "segmented 0 us", "cat 0.0 %", "dog 100.0 %", "segmented 0 us",
    ]  # fmt: skip


def test_shares_of_class_indices(run_sketch: Any) -> None:
    words = {
        "CLASS_OF": microcontroller._INDEX_OF_PIXEL,
        "PIXELS": "(@UPPER@_OUTPUT_BYTES / sizeof(@OUT@))",
        "CLASSES": "4",
    }
    network = "for (int at = 0; at < 4; at++) output[at] = turn ? 3 : at; return 0;"
    lines = run_sketch(APP.sketch, words, network)
    assert lines[:4] == ["cat 25.0 %", "dog 25.0 %", "hen 25.0 %", "owl 25.0 %"]
    assert lines[5:9] == ["cat 0.0 %", "dog 0.0 %", "hen 0.0 %", "owl 100.0 %"]
