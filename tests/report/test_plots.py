import math
from typing import Any

import pytest

from mnedge.report import plots
from mnedge.report.axes import LEFT, RIGHT
from mnedge.report.summary import lines


def test_bubbles_stand_where_their_figures_say(report: dict[str, Any]) -> None:
    plot = plots.bubbles(lines(report), "top1")
    assert plot is not None
    by_name = {bubble.line.short: bubble for bubble in plot.bubbles}
    assert by_name["int8.tflite"].x < by_name["int8.onnx"].x < by_name["fp32.tflite"].x < by_name["fp32.onnx"].x
    # Up is better: fewer pixels down.
    assert by_name["fp32.tflite"].y < by_name["int8.tflite"].y < by_name["int8.onnx"].y
    ratio = by_name["fp32.tflite"].radius ** 2 / by_name["int8.tflite"].radius ** 2
    assert ratio == pytest.approx(6_118_292 / 1_843_200)
    for bubble in plot.bubbles:
        assert bubble.whisker is not None
        assert bubble.whisker[0] < bubble.y < bubble.whisker[1]
        assert LEFT <= bubble.x <= RIGHT
        assert 0 <= bubble.whisker[0] <= bubble.whisker[1] <= plot.height


def test_without_accuracy_the_size_is_the_height_and_without_latency_the_place_across(report: dict[str, Any]) -> None:
    timed = plots.bubbles(lines({**report, "accuracy": []}), None)
    judged = plots.bubbles(lines({**report, "latency": []}), "top1")
    assert timed is not None
    assert judged is not None
    assert (timed.x_title, timed.y_title) == ("median latency, ms", "size, MiB")
    assert (judged.x_title, judged.y_title) == ("size, MiB", "top-1, %")
    assert (timed.title, timed.better) == ("Size, latency", "down and left is better")
    assert (judged.title, judged.better) == ("Size, accuracy", "up and left is better")
    assert plots.bubbles(lines({**report, "accuracy": [], "latency": []}), None) is None


def test_letters_of_bubbles_in_one_place_do_not_cover_each_other(report: dict[str, Any]) -> None:
    for row in report["latency"]:
        row["p50_ms"] = 5.0
    for row in report["accuracy"]:
        row["top1"], row["top1_interval"] = 0.9, [0.88, 0.92]
    plot = plots.bubbles(lines(report), "top1")
    assert plot is not None
    spots = [(bubble.x + bubble.label[0], bubble.y + bubble.label[1]) for bubble in plot.bubbles]
    for place, spot in enumerate(spots):
        assert all(math.dist(spot, other) > 9.0 for other in spots[:place])


def test_histograms_hold_every_run_and_mark_the_median(report: dict[str, Any], details: dict[str, Any]) -> None:
    samples = details["latency_samples"]
    name = next(iter(samples))
    samples[name] = [*samples[name], 500.0]
    plot = plots.latencies(lines(report), samples)
    assert plot is not None
    assert [row.line.name for row in plot.rows] == list(samples)
    assert plot.rows[0].beyond == "1 of 201 slower"
    for row in plot.rows:
        tallest = max(height for _, _, height in row.bars)
        assert tallest == pytest.approx(30.0)
        assert min(x for x, _, _ in row.bars) <= row.median <= max(x + width for x, width, _ in row.bars)
    assert plots.latencies(lines(report), {}) is None


def test_steps_say_what_was_gained_and_lost(details: dict[str, Any]) -> None:
    made = plots.steps(details["steps"])
    assert [step.gain for step in made] == [True, True, False]
    assert [step.change for step in made] == [None, pytest.approx(0.58), pytest.approx(-0.018)]
    ends = [step.end for step in made if step.end is not None]
    assert made[1].start == ends[0] < ends[2] < ends[1] <= 98.0
    assert plots.steps([{"name": "x", "seconds": 1.0, "agreement": None}]) == ()
