"""ROC and precision-recall curves of two classes: positions of their marks, and their thresholds as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.axes import Tick, along
from mnedge.report.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.report.tables import Tone
    from mnedge.results.two_classes import OperatingPoint, TwoClasses

_HEIGHT = 260.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Recalls whose thresholds the table names, the strictest first.
_RECALLS = (0.5, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class CurveLine:
    """A curve: its name and tone, its points and the best one (percent across, pixels down)."""

    name: str
    tone: Tone
    points: tuple[tuple[float, float], ...]
    best: tuple[float, float]


@dataclass(frozen=True)
class CurvesPlot:
    """Curves between 0 and 1 on both axes.

    Attributes:
        title: Plotted figures.
        words: The area under each curve, in a sentence.
        lines: The curves.
        x_ticks: Ticks of the x axis.
        y_ticks: Ticks of the y axis.
        x_title: Name of the x axis.
        y_title: Name of the y axis.
        height: Pixels.
    """

    title: str
    words: str
    lines: tuple[CurveLine, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str
    height: float


def two_class_plots(found: Sequence[tuple[str, Tone, TwoClasses]]) -> tuple[CurvesPlot, ...]:
    """The ROC plot and the precision-recall plot of some models; () for none.

    Args:
        found: Name, tone and curves of each model.
    """
    if not found:
        return ()
    several = len(found) > 1

    def words(areas: list[tuple[str, float]], what: str) -> str:
        return "; ".join(f"{name + ': ' if several else ''}{what} {figures.percent(area)}" for name, area in areas)

    return (
        _plot(
            "ROC",
            words([(name, curves.roc_auc) for name, _, curves in found], "area under the curve"),
            [(name, tone, [_roc(point) for point in curves.points], _roc(curves.best)) for name, tone, curves in found],
            ("false positives", "recall"),
        ),
        _plot(
            "Precision and recall",
            words([(name, curves.average_precision) for name, _, curves in found], "average precision"),
            # Where nothing is taken for positive, precision has no value.
            [
                (
                    name,
                    tone,
                    [_precision(point) for point in curves.points if point.recall > 0],
                    _precision(curves.best),
                )
                for name, tone, curves in found
            ],
            ("recall", "precision"),
        ),
    )


def _roc(point: OperatingPoint) -> tuple[float, float]:
    return point.false_positive_rate, point.recall


def _precision(point: OperatingPoint) -> tuple[float, float]:
    return point.recall, point.precision


def _plot(
    title: str,
    words: str,
    curves: Sequence[tuple[str, Tone, Sequence[tuple[float, float]], tuple[float, float]]],
    axes: tuple[str, str],
) -> CurvesPlot:
    across, down = along(0.0, 1.0), along(0.0, 1.0, _HEIGHT - 40.0, 26.0)
    lines = tuple(
        CurveLine(name, tone, tuple((across(x), down(y)) for x, y in points), (across(best[0]), down(best[1])))
        for name, tone, points, best in curves
    )
    return CurvesPlot(
        title,
        words,
        lines,
        tuple(Tick(across(value), f"{value:g}") for value in _TICKS),
        tuple(Tick(down(value), f"{value:g}") for value in _TICKS),
        *axes,
        _HEIGHT,
    )


def thresholds_table(curves: TwoClasses) -> Table:
    """The best threshold, and for some recalls the strictest threshold that reaches them."""
    rows = [("highest balanced accuracy", curves.best)]
    for recall in _RECALLS:
        reaching = next((point for point in curves.points if point.recall >= recall), None)
        if reaching is not None:
            rows.append((f"recall of {100 * recall:.0f} % and more", reaching))
    return Table(
        f"Thresholds of {curves.positive}",
        ("for", ">threshold", ">recall %", ">false positives %", ">precision %"),
        tuple(
            (
                Cell(name),
                Cell(f"{point.threshold:.3f}"),
                *(Cell(f"{100 * value:.1f}") for value in (point.recall, point.false_positive_rate, point.precision)),
            )
            for name, point in rows
        ),
        ("A threshold that was chosen by these pictures looks somewhat better on them than on others.",),
    )
