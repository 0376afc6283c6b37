from dataclasses import replace

import pytest

from mnedge.report.layers_page import WORST, depth_plot, distribution, render_layers, sparkline, table
from mnedge.results.inspection import Agreement, Histogram, LayerNoise, OutputNoise, TensorNoise


def _row(index: int, **changes: object) -> TensorNoise:
    row = TensorNoise(
        index=index,
        tensor=f"tensor_{index}",
        op="CONV_2D",
        what="activation",
        dtype="int8",
        sqnr_db=40.0 - index,
        agreement_gain=0.01,
        output_gain_db=2.0 - index / 10,
        low=-1.0,
        high=3.0,
        min=-2.0,
        max=2.0,
        clipped_fraction=0.001,
        histogram=Histogram(-2.0, 2.0, (1, 0, 10, 1000)),
    )
    return replace(row, **changes)  # type: ignore[arg-type] # any of its fields


@pytest.fixture
def result() -> LayerNoise:
    weights = _row(3, what="weights", low=None, high=None, clipped_fraction=None, sqnr_db=None)
    rows = (weights, *(_row(index) for index in range(14)))
    return LayerNoise(16, Agreement(0.75, 0.875), OutputNoise(10.6, None), rows)


def test_the_page_shows_the_worst_and_all(result: LayerNoise) -> None:
    rows = (result.tensors[0], replace(result.tensors[1], tensor="<script>x"), *result.tensors[2:])
    text = render_layers(replace(result, tensors=rows), "net.int8.tflite")
    for expected in ("net.int8.tflite", "75.0 %", "87.5 %", "10.6 dB", "tensor_13", "0.10 % clipped"):
        assert expected in text, expected
    assert "<script" not in text
    assert text.count('<figcaption id="tensor-') == WORST


def test_dots_stand_by_depth_and_noise(result: LayerNoise) -> None:
    plot = depth_plot(result.tensors)
    assert plot is not None
    # The weights without noise have no place.
    assert len(plot.dots) == 14
    assert sum(dot.rank is not None for dot in plot.dots) == WORST - 1
    by_x = sorted(plot.dots, key=lambda dot: dot.x)
    assert [dot.y for dot in by_x] == sorted(dot.y for dot in by_x)
    assert depth_plot([result.tensors[0]]) is None


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


def test_cells_fit_the_columns(result: LayerNoise) -> None:
    shown = table(result.tensors)
    assert {len(row) for row in shown.rows} == {len(shown.columns)}
    assert [cell.text for cell in shown.rows[0]][4] == "–"
