"""Accuracy against multiply-adds on a logarithmic axis, disc by disc: networks beside networks, as a page or as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.axes import LEFT, Tick, along, ticks
from mnedge.report.html import environment
from mnedge.report.summary import METRICS
from mnedge.report.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnedge.results.networks import NetworkComparison, NetworkRow

# Labels are placed as if the plot were this wide; a page makes it no narrower than most of that.
_NOMINAL_WIDTH = 980.0
_HEIGHT = 460.0
_TOP, _BOTTOM = 30.0, _HEIGHT - 40.0
# The area of a disc is the number of parameters: this radius, in pixels, for a million.
_RADIUS_OF_A_MILLION = 3.6
_CHARACTER, _LINE = 6.5, 15.0
_LEGEND_MILLIONS = (1, 10, 100)

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """A name beside a disc: its shift from the centre in pixels, which end of it stands there, and whether far off."""

    text: str
    dx: float
    dy: float
    anchor: str
    far: bool


@dataclass(frozen=True)
class Disc:
    """A network in the plane.

    Attributes:
        x: Percent across.
        y: Pixels down.
        radius: Pixels; the area is the number of parameters.
        tone: "mobilenet", "other" or "chosen".
        label: None where it only fills the plot.
        words: All its figures in a sentence.
    """

    x: float
    y: float
    radius: float
    tone: str
    label: Label | None
    words: str


@dataclass(frozen=True)
class NetworkPlot:
    """A benchmark.

    Attributes:
        title: Task and data set of the networks.
        discs: Large ones first, so that none is hidden.
        trail: Percent across and pixels down of the best MobileNets, cheapest first: a line through them.
        x_ticks: Ticks of the multiply-adds.
        y_ticks: Ticks of the accuracy in percent.
        y_title: Name of the accuracy.
        height: Pixels.
        legend: Radius in pixels and text of the discs that explain the areas.
    """

    title: str
    discs: tuple[Disc, ...]
    trail: tuple[tuple[float, float], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    y_title: str
    height: float
    legend: tuple[tuple[float, str], ...]


def render_networks(benchmarks: Sequence[NetworkComparison], *, title: str) -> str:
    """Renders a page of plots and tables.

    Args:
        benchmarks: The benchmarks, a plot and a table each.
        title: Heading.

    Returns:
        HTML; text from outside is escaped.
    """
    page = environment().get_template("networks.html")
    shown = [(plot(benchmark), table(benchmark)) for benchmark in benchmarks]
    return page.render(title=title, shown=shown)


def render_networks_svg(benchmarks: Sequence[NetworkComparison], *, title: str) -> str:
    """Renders the plots alone, one below the other; arguments as for `render_networks`."""
    plots = [found for benchmark in benchmarks if (found := plot(benchmark)) is not None]
    return environment().get_template("networks_svg.html").render(title=title, plots=plots, width=_NOMINAL_WIDTH + 40)


def plot(benchmark: NetworkComparison) -> NetworkPlot | None:
    """Places the networks of one benchmark; None where fewer than two have an accuracy."""
    measured = [(row, 100 * row.accuracy) for row in benchmark.networks if row.accuracy is not None]
    if len(measured) < 2:
        return None
    rows = [row for row, _ in measured]
    x_values, low, high = _log_axis([row.macs for row in rows])
    y_values, worst, best = _accuracy_axis([percent for _, percent in measured])
    across, y_of = along(low, high), along(worst, best, _BOTTOM, _TOP)

    def x_of(macs: float) -> float:
        return across(math.log10(macs))

    places = [(x_of(row.macs), y_of(percent), _radius(row.parameters)) for row, percent in measured]
    labels = _labels(rows, places)
    discs = [
        Disc(*place, tone(row), label, words(row, benchmark.metric))
        for row, place, label in zip(rows, places, labels, strict=True)
    ]
    own = [place for place, row in zip(places, rows, strict=True) if row.mobilenet]
    return NetworkPlot(
        title=f"{benchmark.title}: {benchmark.dataset}",
        discs=tuple(sorted(discs, key=lambda disc: (disc.tone == "chosen", -disc.radius))),
        trail=_front(own),
        x_ticks=tuple(Tick(x_of(value), _round_magnitude(value)) for value in x_values),
        y_ticks=tuple(Tick(y_of(value), figures.axis(value)) for value in y_values),
        y_title=f"{METRICS[benchmark.metric]}, %",
        height=_HEIGHT,
        legend=tuple((_radius(1e6 * millions), f"{millions} M") for millions in _LEGEND_MILLIONS),
    )


def tone(row: NetworkRow) -> str:
    """Style of the network's disc."""
    return "chosen" if row.chosen else "mobilenet" if row.mobilenet else "other"


def words(row: NetworkRow, metric: str) -> str:
    """A network's figures in a sentence."""
    return (
        f"{row.name}: {METRICS[metric]} {figures.percent(row.accuracy)}, "
        f"{figures.magnitude(row.macs)} multiply-adds, {figures.magnitude(row.parameters)} parameters"
    )


def table(benchmark: NetworkComparison) -> Table:
    """The networks that people compare, most multiply-adds first."""
    columns = ("network", ">input", ">parameters", ">multiply-adds", f">{METRICS[benchmark.metric]} %", "source", "")
    rows = tuple(
        (
            Cell(row.name, "good" if row.chosen else ""),
            Cell(f"{row.resolution} px"),
            Cell(figures.magnitude(row.parameters)),
            Cell(figures.magnitude(row.macs)),
            Cell(figures.MISSING if row.accuracy is None else f"{100 * row.accuracy:.1f}"),
            Cell(row.source or figures.MISSING),
            Cell(row.remark),
        )
        for row in benchmark.networks
        if row.named
    )
    return Table(f"{benchmark.title}: {benchmark.dataset}", columns, rows)


def _round_magnitude(value: float) -> str:
    return f"{value / 1e9:g} G" if value >= 1e9 else f"{value / 1e6:g} M"


def _radius(parameters: float) -> float:
    return max(2.0, _RADIUS_OF_A_MILLION * math.sqrt(parameters / 1e6))


def _log_axis(values: Sequence[float]) -> tuple[tuple[float, ...], float, float]:
    """Ticks at 1, 2 and 5 times powers of ten, and the decimal logarithms of the axis' ends."""
    low, high = min(values) / 1.5, max(values) * 1.7
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (factor * 10.0**power for power in powers for factor in (1, 2, 5))
    return tuple(value for value in steps if low <= value <= high), math.log10(low), math.log10(high)


def _accuracy_axis(percents: Sequence[float]) -> tuple[tuple[float, ...], float, float]:
    """Round ticks, and the axis' ends, which leave room for half a large disc."""
    margin = 0.09 * max(1.0, max(percents) - min(percents))
    low, high = min(percents) - margin, max(percents) + margin
    return tuple(value for value in ticks(low, high, 6) if low <= value <= high), low, high


def _front(places: Sequence[tuple[float, float, float]]) -> tuple[tuple[float, float], ...]:
    """The best at or below each cost; y runs down."""
    front: list[tuple[float, float]] = []
    for x, y, _ in sorted(places):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return tuple(front)


def _labels(rows: Sequence[NetworkRow], places: Sequence[tuple[float, float, float]]) -> list[Label | None]:
    """A name for each network that people compare, where it covers no disc and no other name if that can be."""
    discs = [(x * _NOMINAL_WIDTH / 100, y, radius) for x, y, radius in places]
    taken: list[Box] = []
    labels: list[Label | None] = [None] * len(rows)
    # Large discs leave their names the least choice.
    for number in sorted(range(len(rows)), key=lambda number: -discs[number][2]):
        if not rows[number].named:
            continue
        others = [disc for other, disc in enumerate(discs) if other != number]
        text = rows[number].name.removeprefix("MobileNet ")
        choices = [(label, _box(label, discs[number])) for label in _around(text, discs[number][2])]
        label, box = min(choices, key=lambda choice: _cover(choice[1], taken, others))
        taken.append(box)
        labels[number] = label
    return labels


def _around(text: str, radius: float) -> Iterator[Label]:
    """Right, left, above, below and oblique; near first."""
    for gap in (4.0, 14.0, 26.0, 40.0):
        reach, slant, far = radius + gap, 0.72 * (radius + gap), gap > 10
        yield Label(text, reach, 4.0, "start", far)
        yield Label(text, -reach, 4.0, "end", far)
        yield Label(text, 0, -reach, "middle", far)
        yield Label(text, 0, reach + 9, "middle", far)
        yield Label(text, slant, -slant, "start", far)
        yield Label(text, slant, slant + 8, "start", far)
        yield Label(text, -slant, -slant, "end", far)
        yield Label(text, -slant, slant + 8, "end", far)


def _box(label: Label, disc: tuple[float, float, float]) -> Box:
    """Left, top, right, bottom of a name, pixels."""
    width = _CHARACTER * len(label.text)
    left = disc[0] + label.dx - {"start": 0.0, "middle": width / 2, "end": width}[label.anchor]
    top = disc[1] + label.dy - 11
    return left, top, left + width, top + _LINE


def _cover(box: Box, taken: Sequence[Box], discs: Sequence[tuple[float, float, float]]) -> float:
    """Returns the area that a name would cover: names count most, the plot's edges as much, discs by their number."""
    left, top, right, bottom = box
    outside = left < LEFT * _NOMINAL_WIDTH / 100 or right > _NOMINAL_WIDTH - 4 or top < _TOP - 14 or bottom > _BOTTOM
    names = sum(left < x2 and right > x1 and top < y2 and bottom > y1 for x1, y1, x2, y2 in taken)
    hidden = sum(
        math.hypot(x - min(max(x, left), right), y - min(max(y, top), bottom)) < radius + 1 for x, y, radius in discs
    )
    return 100.0 * (names + outside) + hidden
