"""Accuracy against cost of many variants, as one self-contained page: for `search` and `sweep`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.axes import RIGHT, Tick, along, ticks
from mnedge.report.cards import Card
from mnedge.report.html import environment
from mnedge.report.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnedge.report.tables import Tone
    from mnedge.results.tradeoff import TradeoffRow

_KIB = 1024
_HEIGHT = 300.0
_TONES: dict[str, Tone] = {"chosen": "good", "front": "", "fits": "", "excluded": "", "failed": "bad"}
_IN_FRONT = ("chosen", "front")


@dataclass(frozen=True)
class Axis:
    """A cost on the x axis.

    Attributes:
        key: Name of the cost, for links.
        title: Title of the axis, with the unit.
        value: Gives a variant's cost; None if it is unknown.
        divisor: The cost is divided by it to be in the axis' unit.
        limits: Names of the limits on this cost.
    """

    key: str
    title: str
    value: Callable[[TradeoffRow], float | None]
    divisor: float
    limits: tuple[str, ...]


AXES = (
    Axis("latency_ms", "latency, ms", lambda row: row.latency_ms, 1.0, ("max_ms",)),
    Axis("ram_bytes", "RAM (arena, input and output), KiB", lambda row: row.ram_bytes, _KIB, ()),
    Axis("flash_bytes", "flash, KiB", lambda row: row.flash_bytes, _KIB, ("max_flash_bytes",)),
    Axis("size_bytes", "size of the int8 .tflite, KiB", lambda row: row.size_bytes, _KIB, ("max_size_bytes",)),
)


@dataclass(frozen=True)
class Mark:
    """A variant in the plane: percent across, pixels down; `number` is its place in the table."""

    x: float
    y: float
    number: int
    status: str
    words: str


@dataclass(frozen=True)
class Plot:
    """Accuracy against one cost.

    Attributes:
        key: Name of the cost.
        title: Title of the x axis.
        marks: The variants; those on the front come last, on top.
        stairs: The front: horizontal and vertical lines (x1, x2 percent; y1, y2 pixels).
        limit: Position of the limit, percent across; None if no limit is in view.
        x_ticks: Ticks of the cost.
        y_ticks: Ticks of the accuracy.
        height: Height, pixels.
    """

    key: str
    title: str
    marks: tuple[Mark, ...]
    stairs: tuple[tuple[float, float, float, float], ...]
    limit: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    height: float


def render_tradeoff(
    rows: Sequence[TradeoffRow],
    notes: Sequence[str],
    *,
    title: str,
    command: str,
    limits: Mapping[str, float] | None = None,
    nearest: str | None = None,
    data: str | None = None,
    metric: str = "top-1",
) -> str:
    """Renders the page.

    Args:
        rows: The variants, the best first.
        notes: Sentences on how the figures came about.
        title: Heading.
        command: "search" or "sweep".
        limits: Largest values allowed, by name; None without limits.
        nearest: Name of the variant that misses the limits least, if none fits.
        data: Name of the data that the accuracy was measured on.
        metric: Name of that accuracy.
    """
    return (
        environment()
        .get_template("tradeoff.html")
        .render(
            title=title,
            command=command,
            verdict=_verdict(rows, nearest),
            cards=cards(rows, data, metric),
            notes=notes,
            accuracy=_accuracy_title(rows, metric),
            plots=plots(rows, limits or {}),
            table=table(rows, metric),
        )
    )


def _verdict(rows: Sequence[TradeoffRow], nearest: str | None) -> dict[str, str]:
    chosen = _chosen(rows)
    if chosen is not None:
        return {"text": f"Chosen: {chosen.name}, the most accurate that fits.", "tone": "good"}
    if nearest is not None:
        miss = next(row for row in rows if row.name == nearest)
        return {"text": f"No variant fits. The nearest is {nearest}: {_why_not(miss)}.", "tone": "bad"}
    return {"text": f"{len(rows)} variants.", "tone": ""}


def _chosen(rows: Sequence[TradeoffRow]) -> TradeoffRow | None:
    return next((row for row in rows if row.status == "chosen"), None)


def _why_not(row: TradeoffRow) -> str:
    return "; ".join(broken.text for broken in row.broken)


def cards(rows: Sequence[TradeoffRow], data: str | None, metric: str = "top-1") -> list[Card]:
    """The figures of the chosen variant; no cards if none was chosen."""
    row = _chosen(rows)
    if row is None:
        return []
    found = []
    if row.headline is not None:
        epochs = f"after {row.epochs} epochs, " if row.epochs else ""
        # mAP is written so everywhere.
        title = metric if metric[1].isupper() else metric[0].upper() + metric[1:]
        found.append(Card(title, figures.percent(row.headline), f"{epochs}on {data}"))
    elif row.imagenet_top1 is not None:
        found.append(Card("Top-1 on ImageNet", figures.percent(row.imagenet_top1), row.imagenet_top1_source or ""))
    if row.latency_ms is not None:
        found.append(Card("Latency", figures.milliseconds(row.latency_ms), row.latency_source or ""))
    if row.ram_bytes is not None:
        arena = figures.size(row.arena_bytes)
        found.append(Card("RAM", figures.size(row.ram_bytes), f"arena {arena}, input and output"))
    if row.flash_bytes is not None:
        found.append(Card("Flash", figures.size(row.flash_bytes), "code and constants"))
    if row.size_bytes is not None and row.flash_bytes is None:
        found.append(Card("Size", figures.size(row.size_bytes), "of the int8 .tflite"))
    return found


def accuracy(row: TradeoffRow, *, own: bool) -> float | None:
    """The accuracy on the user's data if any row has it (`own`), else top-1 on ImageNet."""
    return row.headline if own else row.imagenet_top1


def _is_own(rows: Sequence[TradeoffRow]) -> bool:
    return any(row.headline is not None for row in rows)


def _accuracy_title(rows: Sequence[TradeoffRow], metric: str) -> str:
    return f"{metric}, %" if _is_own(rows) else "top-1 on ImageNet, %"


def plots(rows: Sequence[TradeoffRow], limits: Mapping[str, float]) -> list[Plot]:
    """Returns one plot for every cost that at least two rows have beside an accuracy."""
    found = []
    for axis in AXES:
        # On a microcontroller flash is the cost, not the file.
        if axis.key == "size_bytes" and any(row.flash_bytes is not None for row in rows):
            continue
        made = _plot(axis, rows, limits)
        if made is not None:
            found.append(made)
    return found


def _plot(axis: Axis, rows: Sequence[TradeoffRow], limits: Mapping[str, float]) -> Plot | None:
    own = _is_own(rows)
    placed = [
        (number, row, cost / axis.divisor, score)
        for number, row in enumerate(rows, start=1)
        if (cost := axis.value(row)) is not None and (score := accuracy(row, own=own)) is not None
    ]
    if len(placed) < 2:
        return None
    limit = next((limits[name] / axis.divisor for name in axis.limits if name in limits), None)
    highest = max(cost for _, _, cost, _ in placed)
    x_values = ticks(0.0, 1.06 * highest, 6)
    scores = [100 * score for *_, score in placed]
    y_values = ticks(max(0.0, min(scores) - 1), min(100.0, max(scores) + 1), 5)
    top, bottom = 26.0, _HEIGHT - 40.0
    x_of, y_of = along(0.0, x_values[-1]), along(y_values[0], y_values[-1], bottom, top)
    marks = [
        Mark(x_of(cost), y_of(100 * score), number, row.status, _words(row, axis, cost, score))
        for number, row, cost, score in placed
    ]
    fitting = [(mark.x, mark.y) for mark in marks if mark.status in (*_IN_FRONT, "fits")]
    return Plot(
        axis.key,
        axis.title,
        tuple(sorted(marks, key=lambda mark: (mark.status in _IN_FRONT, mark.status == "chosen"))),
        _stairs(fitting),
        x_of(limit) if limit is not None and limit <= x_values[-1] else None,
        tuple(Tick(x_of(value), figures.axis(value)) for value in x_values),
        tuple(Tick(y_of(value), figures.axis(value)) for value in y_values),
        _HEIGHT,
    )


def _words(row: TradeoffRow, axis: Axis, cost: float, score: float) -> str:
    return f"{row.name}: {figures.percent(score)}, {axis.title.rpartition(', ')[0]} {figures.three(cost)}"


def _stairs(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float, float, float], ...]:
    """The best accuracy at or below each cost, as lines; y runs down, so smaller is better."""
    lines: list[tuple[float, float, float, float]] = []
    best: tuple[float, float] | None = None
    for x, y in sorted(points):
        if best is not None and y >= best[1]:
            continue
        if best is not None:
            lines += [(best[0], x, best[1], best[1]), (x, x, best[1], y)]
        best = (x, y)
    if best is not None:
        lines.append((best[0], RIGHT, best[1], best[1]))
    return tuple(lines)


def table(rows: Sequence[TradeoffRow], metric: str = "top-1") -> Table:
    """Table of the rows, with the accuracy under its name; the last column names the limits that a variant breaks."""
    own = _is_own(rows)
    columns: list[tuple[str, Callable[[int, TradeoffRow], str]]] = [
        (">", lambda number, _: str(number)),
        ("variant", lambda _, row: row.name),
        ("", lambda _, row: row.status),
    ]
    if own:
        columns.append((f">{metric} %", lambda _, row: _percent(row.headline)))
    if any(row.imagenet_top1 is not None for row in rows):
        columns.append((">ImageNet %", lambda _, row: _imagenet(row)))
    columns += [
        (">latency ms", lambda _, row: _latency(row)),
        (">RAM", lambda _, row: figures.size(row.ram_bytes)),
        (">arena", lambda _, row: figures.size(row.arena_bytes)),
        (">flash", lambda _, row: figures.size(row.flash_bytes)),
        (">.tflite", lambda _, row: figures.size(row.size_bytes)),
        (">MACs", lambda _, row: figures.magnitude(row.macs)),
        ("why not", lambda _, row: _why_not(row)),
    ]
    shown = [
        (name, cell)
        for name, cell in columns
        if name in (">", "variant", "") or any(cell(0, row) not in ("", figures.MISSING) for row in rows)
    ]
    cells = tuple(
        tuple(Cell(cell(number, row), _TONES.get(row.status, "") if name == "" else "") for name, cell in shown)
        for number, row in enumerate(rows, start=1)
    )
    notes = ("~ estimated: a latency by the model, an ImageNet figure by the published ones.",)
    return Table("Variants", tuple(name for name, _ in shown), cells, notes)


def _percent(value: float | None) -> str:
    return figures.MISSING if value is None else f"{100 * value:.1f}"


def _imagenet(row: TradeoffRow) -> str:
    return f"{'~' * (row.imagenet_top1_source == 'estimated')}{_percent(row.imagenet_top1)}"


def _latency(row: TradeoffRow) -> str:
    if row.latency_ms is None:
        return figures.MISSING
    return f"{'~' * (row.latency_source == 'model')}{figures.three(row.latency_ms)}"
