import math
from dataclasses import replace

import pytest

from mnedge.report import plots
from mnedge.report.axes import LEFT, RIGHT
from mnedge.report.summary import lines
from mnedge.results.accuracy import Figures
from mnedge.results.details import Details, Step
from mnedge.results.report import Report


def test_bubbles_stand_where_their_figures_say(report: Report) -> None:
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


def test_without_accuracy_the_size_is_the_height_and_without_latency_the_place_across(report: Report) -> None:
    timed = plots.bubbles(lines(replace(report, accuracy=())), None)
    judged = plots.bubbles(lines(replace(report, latency=())), "top1")
    assert timed is not None
    assert judged is not None
    assert (timed.x_title, timed.y_title) == ("median latency, ms", "size, MiB")
    assert (judged.x_title, judged.y_title) == ("size, MiB", "top-1, %")
    assert (timed.title, timed.better) == ("Size, latency", "down and left is better")
    assert (judged.title, judged.better) == ("Size, accuracy", "up and left is better")
    assert plots.bubbles(lines(replace(report, accuracy=(), latency=())), None) is None


def test_letters_of_bubbles_in_one_place_do_not_cover_each_other(report: Report) -> None:
    latency = tuple(replace(row, p50_ms=5.0) for row in report.latency)
    figures = Figures({"top1": 0.9}, {"top1": (0.88, 0.92)})
    accuracy = tuple(replace(row, figures=figures) for row in report.accuracy)
    plot = plots.bubbles(lines(replace(report, latency=latency, accuracy=accuracy)), "top1")
    assert plot is not None
    spots = [(bubble.x + bubble.label[0], bubble.y + bubble.label[1]) for bubble in plot.bubbles]
    for place, spot in enumerate(spots):
        assert all(math.dist(spot, other) > 9.0 for other in spots[:place])


def test_histograms_hold_every_run_and_mark_the_median(report: Report, details: Details) -> None:
    name, runs = next(iter(details.latency_samples.items()))
    samples = {**details.latency_samples, name: (*runs, 500.0)}
    plot = plots.latencies(lines(report), samples)
    assert plot is not None
    assert [row.line.name for row in plot.rows] == list(samples)
    assert plot.rows[0].beyond == "1 of 201 slower"
    for row in plot.rows:
        tallest = max(height for _, _, height in row.bars)
        assert tallest == pytest.approx(30.0)
        assert min(x for x, _, _ in row.bars) <= row.median <= max(x + width for x, width, _ in row.bars)
    assert plots.latencies(lines(report), {}) is None


def test_steps_say_what_was_gained_and_lost(details: Details) -> None:
    made = plots.steps(details.steps)
    assert [step.gain for step in made] == [True, True, False]
    assert [step.change for step in made] == [None, pytest.approx(0.58), pytest.approx(-0.018)]
    ends = [step.end for step in made if step.end is not None]
    assert made[1].start == ends[0] < ends[2] < ends[1] <= 98.0
    assert plots.steps([Step("x", 1.0)]) == ()
