import numpy as np

from mnedge.report.axes import LEFT, RIGHT
from mnedge.report.two_class_plots import thresholds_table, two_class_plots
from mnedge.validation.two_classes import two_classes

_CURVES = two_classes(np.linspace(0, 1, 11, dtype=np.float32), np.arange(11) > 6, "ripe")


def test_axes_go_from_nought_to_one() -> None:
    assert _CURVES is not None
    roc, precision = two_class_plots([("validation", "int8", _CURVES)])
    (line,) = roc.lines
    assert line.points[0] == (LEFT, roc.height - 40)
    assert line.points[-1] == (RIGHT, 26.0)
    # All that is right is told apart: up along the axis, and on at the top.
    assert line.best == (LEFT, 26.0)
    assert precision.lines[0].best == (RIGHT, 26.0)
    assert (roc.x_title, roc.y_title, precision.x_title) == ("false positives", "recall", "recall")
    assert roc.words == "area under the curve 100.0 %"


def test_several_models_are_named() -> None:
    assert _CURVES is not None
    roc, _ = two_class_plots([("fp32", "fp32", _CURVES), ("int8", "int8", _CURVES)])
    assert [line.name for line in roc.lines] == ["fp32", "int8"]
    assert roc.words.startswith("fp32: area")


def test_no_curves_make_no_plot() -> None:
    assert two_class_plots([]) == ()


def test_the_table_names_the_strictest_threshold_of_each_recall() -> None:
    assert _CURVES is not None
    table = thresholds_table(_CURVES)
    rows = {cells[0].text: [cell.text for cell in cells[1:]] for cells in table.rows}
    assert rows["recall of 50 % and more"] == ["0.850", "50.0", "0.0", "100.0"]
    assert rows["highest balanced accuracy"][1:] == ["100.0", "0.0", "100.0"]
