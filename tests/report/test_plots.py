import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnedge.report import plots
from mnedge.report.summary import lines


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 10))
def test_ticks_are_round_and_span_the_interval(low: float, span: float, count: int) -> None:
    high = low + span
    values = plots.ticks(low, high, count)
    steps = [after - before for before, after in itertools.pairwise(values)]
    tolerance = 1e-6 * max(abs(low), abs(high), 1.0)
    assert values[0] <= low + tolerance
    assert values[-1] >= high - tolerance
    assert len(values) <= count + 2
    assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3, abs=1e-9 * max(abs(low), 1.0))


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
        assert plots.LEFT <= bubble.x <= plots.RIGHT
        assert 0 <= bubble.whisker[0] <= bubble.whisker[1] <= plot.height


def test_without_accuracy_the_size_is_the_height_and_without_latency_the_place_across(report: dict[str, Any]) -> None:
    timed = plots.bubbles(lines({**report, "accuracy": []}), None)
    judged = plots.bubbles(lines({**report, "latency": []}), "top1")
    assert timed is not None
    assert judged is not None
    assert (timed.x_title, timed.y_title) == ("median latency, ms", "size, MiB")
    assert (judged.x_title, judged.y_title) == ("size, MiB", "top-1, %")
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


def test_the_memory_plan_is_drawn_to_scale(details: dict[str, Any]) -> None:
    plan = details["plan"]
    plot = plots.memory(plan)
    assert plot is not None
    per_byte = [block.height / tensor["bytes"] for block, tensor in zip(plot.blocks, plan["tensors"], strict=True)]
    assert per_byte == pytest.approx([per_byte[0]] * len(per_byte))
    lives = [tensor["last"] + 1 - tensor["first"] for tensor in plan["tensors"]]
    per_layer = [block.width / life for block, life in zip(plot.blocks, lives, strict=True)]
    assert per_layer == pytest.approx([per_layer[0]] * len(per_layer))
    # The tensor at 40,000 with 38,500 bytes ends highest.
    assert [tensor["offset"] for block, tensor in zip(plot.blocks, plan["tensors"], strict=True) if block.at_peak] == [
        40_000
    ]
    assert not plot.overlaps
    plan["tensors"][1]["offset"] = 39_999
    overlapping = plots.memory(plan)
    assert overlapping is not None
    assert overlapping.overlaps
    assert plots.memory(None) is None
    assert plots.memory({"arena_bytes": 4, "tensors": []}) is None
