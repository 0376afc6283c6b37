from typing import Any

import pytest

from mnedge.report.layers_page import WORST, depth_plot, distribution, render_layers, sparkline, table


def _row(index: int, **changes: object) -> dict[str, Any]:
    return {
        "index": index,
        "tensor": f"tensor_{index}",
        "op": "CONV_2D",
        "what": "activation",
        "dtype": "int8",
        "sqnr_db": 40.0 - index,
        "agreement_gain": 0.01,
        "output_gain_db": 2.0 - index / 10,
        "low": -1.0,
        "high": 3.0,
        "min": -2.0,
        "max": 2.0,
        "clipped_fraction": 0.001,
        "histogram": {"low": -2.0, "high": 2.0, "counts": [1, 0, 10, 1000]},
        **changes,
    }


@pytest.fixture
def result() -> dict[str, Any]:
    weights = _row(3, what="weights", low=None, high=None, clipped_fraction=None, sqnr_db=None)
    return {
        "images": 16,
        "agreement": {"int8": 0.75, "weights_only": 0.875},
        "output_sqnr_db": {"int8": 10.6, "weights_only": None},
        "tensors": [weights, *(_row(index) for index in range(14))],
    }


def test_the_page_shows_the_worst_and_all(result: dict[str, Any]) -> None:
    result["tensors"][1]["tensor"] = "<script>x"
    text = render_layers(result, "net.int8.tflite")
    for expected in ("net.int8.tflite", "75.0 %", "87.5 %", "10.6 dB", "tensor_13", "0.10 % clipped"):
        assert expected in text, expected
    assert "<script" not in text
    assert text.count('<figcaption id="tensor-') == WORST


def test_dots_stand_by_depth_and_noise(result: dict[str, Any]) -> None:
    plot = depth_plot(result["tensors"])
    assert plot is not None
    # The weights without noise have no place.
    assert len(plot.dots) == 14
    assert sum(dot.rank is not None for dot in plot.dots) == WORST - 1
    by_x = sorted(plot.dots, key=lambda dot: dot.x)
    assert [dot.y for dot in by_x] == sorted(dot.y for dot in by_x)
    assert depth_plot([result["tensors"][0]]) is None


def test_a_distribution_spans_values_and_range() -> None:
    drawn = distribution(1, _row(0))
    # Values from -2 to 2, range from -1 to 3: the axis is -2 to 3.
    assert [tick.text for tick in drawn.ends] == ["−2.00", "3.00"]
    assert [tick.at for tick in drawn.limits] == pytest.approx([1 + 98 / 5, 99.0])
    assert [bar[0] for bar in drawn.bars] == pytest.approx([1.0, 1 + 98 * 2 / 5, 1 + 98 * 3 / 5])
    assert max(height for _, _, height in drawn.bars) == pytest.approx(drawn.height)


def test_a_sparkline_shows_what_came_up_at_all() -> None:
    assert sparkline([0, 1, 10, 1000]) == "\N{NO-BREAK SPACE}▁▃█"
    assert len(sparkline(list(range(48)))) == 16


def test_cells_fit_the_columns(result: dict[str, Any]) -> None:
    shown = table(result["tensors"])
    assert {len(row) for row in shown.rows} == {len(shown.columns)}
    assert [cell.text for cell in shown.rows[0]][4] == "–"
