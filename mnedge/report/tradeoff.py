"""Accuracy against what it costs, for many variants, as one self-contained page: for `search` and `sweep`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnedge.report import figures
from mnedge.report.axes import RIGHT, Tick, along, ticks
from mnedge.report.cards import Card
from mnedge.report.html import environment
from mnedge.report.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.report.summary import Row
    from mnedge.report.tables import Tone

_KIB = 1024
_HEIGHT = 300.0
_TONES: dict[str, Tone] = {"chosen": "good", "front": "", "fits": "", "excluded": "", "failed": "bad"}
_IN_FRONT = ("chosen", "front")


@dataclass(frozen=True)
class Axis:
    """A cost: its key in a row, how it is called, the divisor to its unit, and the limits on it by name."""

    key: str
    title: str
    divisor: float
    limits: tuple[str, ...]


AXES = (
    Axis("latency_ms", "latency, ms", 1.0, ("max_ms",)),
    Axis("ram_bytes", "RAM (arena, input and output), KiB", _KIB, ()),
    Axis("flash_bytes", "flash, KiB", _KIB, ("max_flash_bytes",)),
    Axis("size_bytes", "size of the int8 .tflite, KiB", _KIB, ("max_size_bytes",)),
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
        key: Of the cost.
        title: Of the x axis.
        marks: The variants; those in front last, on top.
        stairs: The front: horizontal and vertical lines (x1, x2 percent; y1, y2 pixels).
        limit: Percent across of the limit; None where there is none in view.
        x_ticks: Of the cost.
        y_ticks: Of the accuracy.
        height: Pixels.
    """

    key: str
    title: str
    marks: tuple[Mark, ...]
    stairs: tuple[tuple[float, float, float, float], ...]
    limit: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    height: float


def render_tradeoff(result: Mapping[str, Any], *, title: str, command: str) -> str:
    """Renders the page.

    Args:
        result: search.json or sweep.json: `rows` of {name, status, top1, imagenet_top1, latency_ms, ram_bytes,
            flash_bytes, size_bytes, macs, broken, …}, `notes`, `limits`; keys may be absent.
        title: Heading.
        command: "search" or "sweep".
    """
    rows = list(result["rows"])
    return (
        environment()
        .get_template("tradeoff.html")
        .render(
            title=title,
            command=command,
            verdict=_verdict(result),
            cards=cards(result),
            notes=[str(note) for note in result.get("notes") or []],
            accuracy=_accuracy_title(rows),
            plots=plots(rows, result.get("limits") or {}),
            table=table(rows),
        )
    )


def _verdict(result: Mapping[str, Any]) -> dict[str, str]:
    chosen, nearest = result.get("chosen"), result.get("nearest")
    if chosen:
        return {"text": f"Chosen: {chosen}, the most accurate that fits.", "tone": "good"}
    if nearest:
        miss = next(row for row in result["rows"] if row["name"] == nearest)
        why = "; ".join(broken["text"] for broken in miss["broken"])
        return {"text": f"No variant fits. The nearest is {nearest}: {why}.", "tone": "bad"}
    return {"text": f"{len(result['rows'])} variants.", "tone": ""}


def cards(result: Mapping[str, Any]) -> list[Card]:
    """The figures of the chosen variant; none where nothing was chosen."""
    row = next((row for row in result["rows"] if row["status"] == "chosen"), None)
    if row is None:
        return []
    found = []
    if row.get("top1") is not None:
        epochs = f"after {row['epochs']} epochs, " if row.get("epochs") else ""
        found.append(Card("Top-1", figures.percent(row["top1"]), f"{epochs}on {result.get('data')}"))
    elif row.get("imagenet_top1") is not None:
        found.append(Card("Top-1 on ImageNet", figures.percent(row["imagenet_top1"]), row["imagenet_top1_source"]))
    if row.get("latency_ms") is not None:
        found.append(Card("Latency", figures.milliseconds(row["latency_ms"]), row.get("latency_source") or ""))
    if row.get("ram_bytes") is not None:
        arena = figures.size(row.get("arena_bytes"))
        found.append(Card("RAM", figures.size(row["ram_bytes"]), f"arena {arena}, input and output"))
    if row.get("flash_bytes") is not None:
        found.append(Card("Flash", figures.size(row["flash_bytes"]), "code and constants"))
    if row.get("size_bytes") is not None and row.get("flash_bytes") is None:
        found.append(Card("Size", figures.size(row["size_bytes"]), "of the int8 .tflite"))
    return found


def accuracy(row: Row, *, own: bool) -> float | None:
    """Top-1 on the user's data where any row has it (`own`), else ImageNet's."""
    value = row.get("top1") if own else row.get("imagenet_top1")
    return None if value is None else float(value)


def _is_own(rows: Sequence[Row]) -> bool:
    return any(row.get("top1") is not None for row in rows)


def _accuracy_title(rows: Sequence[Row]) -> str:
    return "top-1, %" if _is_own(rows) else "top-1 on ImageNet, %"


def plots(rows: Sequence[Row], limits: Mapping[str, float]) -> list[Plot]:
    """One plot for every cost that two rows or more have beside an accuracy."""
    found = []
    for axis in AXES:
        # Flash is what matters where there is one.
        if axis.key == "size_bytes" and any(row.get("flash_bytes") is not None for row in rows):
            continue
        made = _plot(axis, rows, limits)
        if made is not None:
            found.append(made)
    return found


def _plot(axis: Axis, rows: Sequence[Row], limits: Mapping[str, float]) -> Plot | None:
    own = _is_own(rows)
    placed = [
        (number, row, row[axis.key] / axis.divisor, accuracy(row, own=own) or 0.0)
        for number, row in enumerate(rows, start=1)
        if row.get(axis.key) is not None and accuracy(row, own=own) is not None
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
        Mark(x_of(cost), y_of(100 * score), number, str(row["status"]), _words(row, axis, cost, score))
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


def _words(row: Row, axis: Axis, cost: float, score: float) -> str:
    return f"{row['name']}: {figures.percent(score)}, {axis.title.rpartition(', ')[0]} {figures.three(cost)}"


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


def table(rows: Sequence[Row]) -> Table:
    """All rows; why the excluded ones are out stands in the last column."""
    own = _is_own(rows)
    columns: list[tuple[str, Any]] = [
        (">", lambda number, _: str(number)),
        ("variant", lambda _, row: row["name"]),
        ("", lambda _, row: row["status"]),
    ]
    if own:
        columns.append((">top-1 %", lambda _, row: _percent(row.get("top1"))))
    if any(row.get("imagenet_top1") is not None for row in rows):
        columns.append((">ImageNet %", lambda _, row: _imagenet(row)))
    columns += [
        (">latency ms", lambda _, row: _latency(row)),
        (">RAM", lambda _, row: figures.size(row.get("ram_bytes"))),
        (">arena", lambda _, row: figures.size(row.get("arena_bytes"))),
        (">flash", lambda _, row: figures.size(row.get("flash_bytes"))),
        (">.tflite", lambda _, row: figures.size(row.get("size_bytes"))),
        (">MACs", lambda _, row: figures.magnitude(row.get("macs"))),
        ("why not", lambda _, row: "; ".join(broken["text"] for broken in row.get("broken") or [])),
    ]
    shown = [
        (name, cell)
        for name, cell in columns
        if name in (">", "variant", "") or any(cell(0, row) not in ("", figures.MISSING) for row in rows)
    ]
    cells = tuple(
        tuple(Cell(cell(number, row), _TONES.get(row["status"], "") if name == "" else "") for name, cell in shown)
        for number, row in enumerate(rows, start=1)
    )
    notes = ("~ estimated: a latency by the model, an ImageNet figure by the published ones.",)
    return Table("Variants", tuple(name for name, _ in shown), cells, notes)


def _percent(value: float | None) -> str:
    return figures.MISSING if value is None else f"{100 * value:.1f}"


def _imagenet(row: Row) -> str:
    estimated = row.get("imagenet_top1_source") == "estimated"
    return f"{'~' * estimated}{_percent(row.get('imagenet_top1'))}"


def _latency(row: Row) -> str:
    value = row.get("latency_ms")
    if value is None:
        return figures.MISSING
    return f"{'~' * (row.get('latency_source') == 'model')}{figures.three(value)}"
