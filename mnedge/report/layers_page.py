"""The noise of every tensor of an int8 model as one self-contained page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.axes import Tick, along, ticks
from mnedge.report.cards import Card
from mnedge.report.html import environment
from mnedge.report.profile_tables import tables_of
from mnedge.report.tables import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.results.inspection import LayerNoise, TensorNoise
    from mnedge.results.profile import LayerProfile

WORST = 10
_HISTOGRAM_HEIGHT = 46.0


@dataclass(frozen=True)
class Dot:
    """A tensor in the plane of depth (percent across) and noise (pixels down); `rank` 1 to 10 for the worst."""

    x: float
    y: float
    what: str
    rank: int | None
    words: str


@dataclass(frozen=True)
class DepthPlot:
    """Signal to quantization noise along the model."""

    dots: tuple[Dot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    height: float


@dataclass(frozen=True)
class Distribution:
    """The values of one tensor: bars (left end and width in percent, height in pixels) and the range of its dtype."""

    rank: int
    row: TensorNoise
    bars: tuple[tuple[float, float, float], ...]
    limits: tuple[Tick, ...]
    ends: tuple[Tick, Tick]
    height: float


def render_layers(result: LayerNoise, title: str, profile: LayerProfile | None = None) -> str:
    """Renders the page.

    Args:
        result: The noise of every tensor.
        title: Name of the model.
        profile: Time and memory of its ops, which stand beside their error.
    """
    rows = result.tensors
    return (
        environment()
        .get_template("layers.html")
        .render(
            title=title,
            images=result.images,
            cards=cards(result),
            depth=depth_plot(rows),
            distributions=[distribution(rank, row) for rank, row in enumerate(rows[:WORST], start=1)],
            tables=[*(tables_of(profile) if profile is not None else ()), table(rows)],
        )
    )


def cards(result: LayerNoise) -> list[Card]:
    """Cards of the loss: agreement and signal to noise, each with and without quantized activations."""
    agreement, noise = result.agreement, result.output_sqnr_db
    return [
        Card("Agreement with float", figures.percent(agreement.int8), f"top-1 on {result.images} pictures"),
        Card("with real activations", figures.percent(agreement.weights_only), "what the weights alone lose"),
        Card("Signal to noise at the output", _decibels(noise.int8), "int8 against float"),
        Card("with real activations", _decibels(noise.weights_only), "what the weights alone leave"),
    ]


def table(rows: Sequence[TensorNoise], title: str = "Tensors, those that cost most first") -> Table:
    """Table of the figures of some tensors."""
    columns = (
        ">",
        "tensor",
        "op",
        "what",
        ">SQNR dB",
        ">gain dB",
        ">gain points",
        ">range",
        ">values",
        ">clipped %",
    )
    note = (
        "Gains: how much nearer to float the output comes, in dB and in points of top-1, if this one alone were float."
    )
    return Table(title, columns, tuple(_cells(rank, row) for rank, row in enumerate(rows, start=1)), (note,))


def _cells(rank: int, row: TensorNoise) -> tuple[Cell, ...]:
    texts = (
        str(rank),
        row.tensor,
        row.op,
        row.what,
        figures.MISSING if row.sqnr_db is None else f"{row.sqnr_db:.1f}",
        f"{row.output_gain_db:.2f}",
        figures.points(row.agreement_gain),
        figures.MISSING if row.low is None or row.high is None else _span(row.low, row.high),
        _span(row.min, row.max),
        figures.MISSING if row.clipped_fraction is None else f"{100 * row.clipped_fraction:.2f}",
    )
    return tuple(Cell(text) for text in texts)


def depth_plot(rows: Sequence[TensorNoise], *, height: float = 300.0) -> DepthPlot | None:
    """Places every tensor that has noise by its op's place and its signal to noise; None where none has."""
    noisy = [(rank, row, row.sqnr_db) for rank, row in enumerate(rows, start=1) if row.sqnr_db is not None]
    if not noisy:
        return None
    values = [sqnr_db for _, _, sqnr_db in noisy]
    y_values = ticks(min(0.0, *values), max(*values, 10.0), 6)
    last = max(row.index for _, row, _ in noisy) + 1
    top, bottom = 26.0, height - 40.0
    x_of, y_of = along(0.0, last), along(y_values[0], y_values[-1], bottom, top)
    dots = tuple(
        Dot(
            x=x_of(row.index),
            y=y_of(sqnr_db),
            what=row.what,
            rank=rank if rank <= WORST else None,
            words=f"{row.tensor}: {sqnr_db:.1f} dB, gain at the output {row.output_gain_db:.2f} dB",
        )
        for rank, row, sqnr_db in noisy
    )
    every = max(1, math.ceil(last / 6 / 5) * 5)
    return DepthPlot(
        # The worst are drawn last, on top.
        dots=tuple(sorted(dots, key=lambda dot: dot.rank is not None)),
        x_ticks=tuple(Tick(x_of(index), str(index)) for index in range(0, last + 1, every)),
        y_ticks=tuple(Tick(y_of(value), figures.axis(value)) for value in y_values),
        height=height,
    )


def distribution(rank: int, row: TensorNoise) -> Distribution:
    """Draws a tensor's values; heights are logarithmic, so that rare values, which ranges are about, are seen."""
    histogram = row.histogram
    counts = histogram.counts
    low = min(histogram.low, histogram.low if row.low is None else row.low)
    high = max(histogram.high, histogram.high if row.high is None else row.high)
    span = high - low or 1.0

    def x_of(value: float) -> float:
        return float(1.0 + 98.0 * (value - low) / span)

    tallest = math.log1p(max(counts, default=0)) or 1.0
    step = (histogram.high - histogram.low) / len(counts)
    bars = tuple(
        (x_of(histogram.low + step * place), 98.0 * step / span, _HISTOGRAM_HEIGHT * math.log1p(count) / tallest)
        for place, count in enumerate(counts)
        if count
    )
    limits = tuple(Tick(x_of(value), figures.signed(value)) for value in (row.low, row.high) if value is not None)
    ends = (Tick(x_of(low), figures.signed(low)), Tick(x_of(high), figures.signed(high)))
    return Distribution(rank, row, bars, limits, ends, _HISTOGRAM_HEIGHT)


def sparkline(counts: Sequence[int], width: int = 16) -> str:
    """A histogram in a line of text; heights are logarithmic, and what came up at all is seen."""
    size = math.ceil(len(counts) / width)
    grouped = [sum(counts[start : start + size]) for start in range(0, len(counts), size)]
    tallest = math.log1p(max(grouped)) or 1.0
    # The first is a no-break space.
    return "".join("\N{NO-BREAK SPACE}▁▂▃▄▅▆▇█"[math.ceil(8 * math.log1p(count) / tallest)] for count in grouped)


def _span(low: float, high: float) -> str:
    return f"{figures.signed(low)} … {figures.signed(high)}"


def _decibels(value: float | None) -> str:
    return figures.MISSING if value is None else f"{value:.1f} dB"
