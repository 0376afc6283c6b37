"""Figures of a training over its epochs, as curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.axes import Tick, along, ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnedge.results.training import Epoch

_HEIGHT = 240.0
# Room that the name of a phase takes, percent across.
_PHASE_NAME = 8.0


@dataclass(frozen=True)
class Curve:
    """A line of a plot: its name, and its points (percent across, pixels down)."""

    name: str
    tone: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CurvePlot:
    """Curves over the epochs of all phases.

    Attributes:
        title: Plotted figures.
        curves: The lines.
        x_ticks: Epochs.
        y_ticks: Values.
        phases: Start of each phase, percent across, and its name.
        best: Epoch of the chosen weights, percent across; None for none of them.
        height: Pixels.
    """

    title: str
    curves: tuple[Curve, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    phases: tuple[Tick, ...]
    best: float | None
    height: float


def curve_plot(
    title: str,
    history: Sequence[Epoch],
    best: Epoch,
    lines: Mapping[str, Callable[[Epoch], float | None]],
    *,
    height: float = _HEIGHT,
) -> CurvePlot | None:
    """Places the epochs of all phases one after the other; None where there are none, or none with a value.

    Args:
        title: Plotted figures.
        history: The epochs.
        best: The epoch whose weights were taken.
        lines: The value of an epoch, by the line's name; an epoch without one has no point.
        height: Pixels.
    """
    points = {name: [(place, value(epoch)) for place, epoch in enumerate(history)] for name, value in lines.items()}
    known = {name: [(place, value) for place, value in line if value is not None] for name, line in points.items()}
    values = [value for line in known.values() for _, value in line]
    if not values:
        return None
    low, high = min(values), max(values)
    y_values = ticks(low, high if high > low else low + 0.01, 5)
    top, bottom, count = 26.0, height - 40.0, len(history)
    x_of, y_of = along(-0.5, count - 0.5), along(y_values[0], y_values[-1], bottom, top)
    # A phase of a few epochs leaves no room for its name.
    begins = [place for place, epoch in enumerate(history) if epoch.number == 1 or place == 0]
    chosen = [place for place, epoch in enumerate(history) if (epoch.phase, epoch.number) == (best.phase, best.number)]
    every = max(1, -(-count // 10))
    return CurvePlot(
        title=title,
        curves=tuple(
            Curve(name, tone, tuple((x_of(place), y_of(value)) for place, value in line))
            for (name, line), tone in zip(known.items(), ("fp32", "int8")[-len(lines) :], strict=True)
        ),
        x_ticks=tuple(Tick(x_of(place), str(history[place].number)) for place in range(0, count, every)),
        y_ticks=tuple(Tick(y_of(value), figures.axis(value)) for value in y_values),
        phases=tuple(
            Tick(x_of(place - 0.5), history[place].phase if x_of(after) - x_of(place) > _PHASE_NAME else "")
            for place, after in zip(begins, [*begins[1:], count], strict=True)
        ),
        best=x_of(chosen[0]) if chosen else None,
        height=height,
    )
