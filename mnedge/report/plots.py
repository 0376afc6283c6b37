"""Positions of the marks of a plot. The page draws them; nothing here knows of SVG or colours.

Across, positions are percentages of the plot's width, so that a plot fits a phone and a sheet of paper while its
text keeps its size. Down, they are pixels from the top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.axes import LEFT, RIGHT, Tick, along, ticks
from mnedge.report.summary import METRICS, base_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.report.summary import Line
    from mnedge.results.details import Step as QuantizationStep

# Labels are kept apart as if the plot were this wide.
_NOMINAL_WIDTH = 480.0
_LARGEST_RADIUS = 21.0
_LABEL_GAP = 13.0


@dataclass(frozen=True)
class Bubble:
    """An artifact in the plane.

    Attributes:
        line: The artifact on its device.
        x: Percent across.
        y: Pixels down.
        radius: Pixels; the area is proportional to the artifact's bytes.
        whisker: Pixels down of the interval's upper and lower end; None without an interval.
        label: Shift of its letter from the centre, pixels.
        words: All its figures in a sentence.
    """

    line: Line
    x: float
    y: float
    radius: float
    whisker: tuple[float, float] | None
    label: tuple[float, float]
    words: str


@dataclass(frozen=True)
class BubblePlot:
    """Size against accuracy against latency, or two of them; `better` says which way is."""

    title: str
    better: str

    bubbles: tuple[Bubble, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    y_title: str
    height: float


def bubbles(found: Sequence[Line], metric: str | None, *, height: float = 300.0) -> BubblePlot | None:
    """Places artifacts by median latency (across) and accuracy (down), area by size.

    Without an accuracy the size is the height as well, without a latency it is the position across.

    Returns:
        None where fewer than two artifacts can be placed.
    """
    timed = any(line.p50_ms is not None for line in found)
    has_accuracy = metric is not None and any(line.metric(metric) is not None for line in found)
    if not (timed or has_accuracy):
        return None

    def across(line: Line) -> float | None:
        return line.p50_ms if timed else _mib(line)

    def down(line: Line) -> float | None:
        return line.metric(metric) if has_accuracy else _mib(line)

    placed = [line for line in found if across(line) is not None and down(line) is not None]
    if len(placed) < 2:
        return None
    x_values = ticks(0.0, 1.06 * max(across(line) or 0.0 for line in placed), 6)
    low, high = _vertical_range(placed, metric if has_accuracy else None)
    y_values = ticks(low, high, 5)
    y_low, y_high = min(y_values[0], low), max(y_values[-1], high)
    top, bottom = 40.0, height - 40.0
    x_of, y_of = along(0.0, x_values[-1]), along(y_low, y_high, bottom, top)
    largest = max(line.bytes or 0 for line in placed) or 1
    rough = [
        (line, x_of(across(line) or 0.0), y_of(down(line) or 0.0), _radius(line.bytes or 0, largest)) for line in placed
    ]
    labels = _labels([(x * _NOMINAL_WIDTH / 100, y, radius) for _, x, y, radius in rough])
    marks = []
    for (line, x, y, radius), label in zip(rough, labels, strict=True):
        bounds = line.interval(metric) if has_accuracy else None
        whisker = (y_of(bounds[1]), y_of(bounds[0])) if bounds else None
        marks.append(Bubble(line, x, y, radius, whisker, label, words(line, metric)))
    # Small ones are drawn last, so that none is hidden.
    marks.sort(key=lambda bubble: -bubble.radius)
    percent = has_accuracy
    measured = [word for word, is_there in (("accuracy", has_accuracy), ("latency", timed)) if is_there]
    return BubblePlot(
        title=", ".join(("Size", *measured)),
        better="up and left is better" if has_accuracy else "down and left is better",
        bubbles=tuple(marks),
        x_ticks=tuple(Tick(x_of(value), figures.axis(value)) for value in x_values),
        y_ticks=tuple(Tick(y_of(value), figures.axis(100 * value if percent else value)) for value in y_values),
        x_title="median latency, ms" if timed else "size, MiB",
        y_title=f"{METRICS[metric]}, %" if has_accuracy and metric else "size, MiB",
        height=height,
    )


def words(line: Line, metric: str | None) -> str:
    """A line's figures in a sentence, for those who do not see the plot."""
    parts = [figures.size(line.bytes)]
    value = line.metric(metric)
    if metric and value is not None:
        parts.append(f"{METRICS[metric]} {figures.percent(value)}")
    if line.p50_ms is not None:
        parts.append(f"median {figures.milliseconds(line.p50_ms)}")
    place = f" on {line.device}" if line.device not in ("", "local") else ""
    return f"{line.key}: {line.short}{place}, {', '.join(parts)}"


def _mib(line: Line) -> float | None:
    return None if line.bytes is None else line.bytes / 2**20


def _radius(count_bytes: int, largest: int) -> float:
    return max(4.0, _LARGEST_RADIUS * math.sqrt(count_bytes / largest))


def _vertical_range(placed: Sequence[Line], metric: str | None) -> tuple[float, float]:
    if metric is None:
        return 0.0, 1.1 * max(_mib(line) or 0.0 for line in placed)
    lows, highs = [], []
    for line in placed:
        value = line.metric(metric) or 0.0
        bounds = line.interval(metric) or (value, value)
        lows.append(min(bounds))
        highs.append(max(bounds))
    # Bubbles need room above and below their centres.
    margin = max(0.01, 0.25 * (max(highs) - min(lows)))
    return max(0.0, min(lows) - margin), min(1.0, max(highs) + margin / 2)


def _labels(circles: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Shifts that keep the letters of near circles apart: in the centre if it can be, else around it."""
    taken: list[tuple[float, float]] = []
    shifts = []
    for number, (x, y, radius) in enumerate(circles):
        reach = radius + 9.0
        around = [(reach * math.cos(angle), reach * math.sin(angle)) for angle in (0.0, math.pi, -0.8, -2.3, 0.8, 2.3)]
        candidates = [(0.0, 0.0), *around] if radius >= 9.0 else around
        centres = [(cx, cy) for other, (cx, cy, _) in enumerate(circles) if other != number]

        def free(
            shift: tuple[float, float], x: float = x, y: float = y, others: Sequence[tuple[float, float]] = centres
        ) -> bool:
            spot = (x + shift[0], y + shift[1])
            return all(math.dist(spot, other) > _LABEL_GAP for other in (*taken, *others))

        shift = next((candidate for candidate in candidates if free(candidate)), candidates[0])
        taken.append((x + shift[0], y + shift[1]))
        shifts.append(shift)
    return shifts


@dataclass(frozen=True)
class Histogram:
    """Histogram of the latencies.

    Attributes:
        line: Line of the artifact.
        top: Pixels down to the row's text.
        base: Pixels down to the foot of the bars.
        bars: Left end and width in percent across, height in pixels.
        median: Percent across.
        words: Median, nine of ten, number of runs.
        beyond: Runs that lie right of the axis, and of how many; "" where none do.
    """

    line: Line
    top: float
    base: float
    bars: tuple[tuple[float, float, float], ...]
    median: float
    words: str
    beyond: str


@dataclass(frozen=True)
class LatencyPlot:
    """Histograms of several artifacts over one axis from 0 ms."""

    rows: tuple[Histogram, ...]
    x_ticks: tuple[Tick, ...]
    height: float


def latencies(found: Sequence[Line], samples: Mapping[str, Sequence[float]]) -> LatencyPlot | None:
    """Draws the runs of each artifact as a histogram; None without samples.

    Args:
        found: The lines of the report.
        samples: Milliseconds of each run, by artifact.
    """
    by_name = {base_name(name): sorted(values) for name, values in samples.items() if values}
    timed: dict[str, Line] = {}
    for line in found:
        if line.name in by_name and (line.latency or line.name not in timed):
            timed.setdefault(line.name, line)
    if not timed:
        return None
    # Far outliers are the machine's doing and would squeeze the rest; they are counted, not drawn.
    end = 1.05 * max(min(_quantile(by_name[name], 0.99), 2.5 * _quantile(by_name[name], 0.5)) for name in timed)
    values = ticks(0.0, end, 6)
    x_of = along(0.0, values[-1])
    row_height, bar_height, bins = 66.0, 30.0, 150
    rows_made = []
    for number, (name, line) in enumerate(timed.items()):
        runs = by_name[name]
        counts = [0] * bins
        for run in runs:
            if run < values[-1]:
                counts[int(run / values[-1] * bins)] += 1
        tallest = max(counts) or 1
        step = (RIGHT - LEFT) / bins
        base = row_height * (number + 1) - 4.0
        bars = tuple(
            (LEFT + step * index, step, max(1.5, bar_height * count / tallest))
            for index, count in enumerate(counts)
            if count
        )
        median = _quantile(runs, 0.5)
        slower = len(runs) - sum(counts)
        beyond = f"{slower:,} of {len(runs):,} slower" if slower else ""
        text = f"p50 {figures.three(median)} ms, p90 {figures.three(_quantile(runs, 0.9))} ms"
        rows_made.append(Histogram(line, base - 45.0, base, bars, x_of(median), text, beyond))
    x_ticks = tuple(Tick(x_of(value), figures.axis(value)) for value in values)
    return LatencyPlot(tuple(rows_made), x_ticks, row_height * len(timed) + 38.0)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True)
class Step:
    """Change of the agreement with float by one step of quantization.

    Attributes:
        name: The step.
        start: Agreement before it, percent across.
        end: Agreement after it; None where it was not measured.
        gain: Whether the agreement rose or stayed.
        agreement: After it, 0..1.
        change: Against the step before; None for the first.
        seconds: Duration of the step.
    """

    name: str
    start: float | None
    end: float | None
    gain: bool
    agreement: float | None
    change: float | None
    seconds: float | None


def steps(quantization: Sequence[QuantizationStep]) -> tuple[Step, ...]:
    """Places each step's agreement on a common axis that ends at 100 %."""
    known = [row.agreement for row in quantization if row.agreement is not None]
    if not known:
        return ()
    floor = math.floor(10 * max(0.0, min(known) - 0.05)) / 10

    def place(value: float) -> float:
        return 2.0 + 96.0 * (value - floor) / (1.0 - floor)

    made = []
    before: float | None = None
    for row in quantization:
        value = row.agreement
        made.append(
            Step(
                name=row.name,
                start=None if before is None else place(before),
                end=None if value is None else place(value),
                gain=before is None or value is None or value >= before,
                agreement=value,
                change=None if before is None or value is None else value - before,
                seconds=row.seconds,
            )
        )
        before = value if value is not None else before
    return tuple(made)
