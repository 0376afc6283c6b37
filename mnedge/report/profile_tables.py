"""The tables of a profile: ops by time, memory and error, and beside a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.tables import Cell, Table

if TYPE_CHECKING:
    from mnedge.results.profile import Elsewhere, LayerProfile, OpChange, OpProfile

# Of the time that the whole takes: a change below it is the clock's.
_LEAST_SLOWER = 0.01
# Of the error that the whole has.
_LEAST_WORSE = 0.02


def tables_of(profile: LayerProfile) -> list[Table]:
    """All tables that a profile has: against the baseline, here, in other places."""
    found = (change_table(profile), profile_table(profile), elsewhere_table(profile))
    return [table for table in found if table is not None]


def profile_table(profile: LayerProfile) -> Table:
    """Table of all ops in order of execution."""
    columns = (">op", "kind", "makes", ">ms", ">of the time %", ">alive", ">constants", ">of the error %")
    plural = "s" * (profile.threads != 1)
    times = (
        f"Times are of each op alone, by {profile.runtime} with {profile.threads} thread{plural}. "
        "Alive are all activations that exist while the op runs."
    )
    errors = (
        "Of the error is the noise at the output that goes if this op alone is real; it is below 0 where its rounding "
        "makes up for that of others, and the shares need not add up to 100."
    )
    return Table("Ops", columns, tuple(_op_cells(row, profile) for row in profile.ops), (times, errors))


def elsewhere_table(profile: LayerProfile) -> Table | None:
    """Table of the ops' costs here and in other places beside each other; None where nothing else was measured."""
    if not profile.elsewhere:
        return None
    columns = [">op", "kind", "makes", ">ms here", ">%"]
    for place in profile.elsewhere:
        columns += [f">{place.unit} {_short(place.place)}", ">%"]
    rows = [
        (*_here(row, profile), *(cell for place in profile.elsewhere for cell in _there(place, at)))
        for at, row in enumerate(profile.ops)
    ]
    notes = [
        f"{place.place}: {_total(place)} by {place.runtime}"
        + (f", of which {_cost(place.rest, place.unit)} belong to no op" if place.rest else "")
        + (", emulated: milliseconds there compare ops at most" if place.emulated and place.unit == "ms" else "")
        for place in profile.elsewhere
    ]
    notes.append(f"{figures.MISSING} is computed there as a part of another op, mostly of the next that has a figure.")
    return Table("Ops in other places", tuple(columns), tuple(rows), tuple(notes))


def change_table(profile: LayerProfile) -> Table | None:
    """Table of the ops that changed against the baseline, the slowest change first; None without a baseline."""
    if profile.baseline is None:
        return None
    columns = ("makes", "kind", ">ms", ">before", ">slower ms", ">of the error %", ">before", ">worse points")
    changed = [row for row in profile.changes if _is_changed(row, profile)]
    changed.sort(key=lambda row: (-row.slower_ms, -row.worse))
    left = len(profile.changes) - len(changed)
    note = (
        f"Errors, before too, are shares of the error that the model has now. {left} ops differ by less than "
        f"{100 * _LEAST_SLOWER:.0f} % of the time and {100 * _LEAST_WORSE:.0f} % of the error."
    )
    return Table(f"Against {profile.baseline}", columns, tuple(_change_cells(row, profile) for row in changed), (note,))


def _is_changed(row: OpChange, profile: LayerProfile) -> bool:
    if row.ms is None or row.before_ms is None:
        return True
    slower = abs(row.slower_ms) > _LEAST_SLOWER * profile.ms
    return slower or abs(row.worse) > _LEAST_WORSE * profile.output_error


def _op_cells(row: OpProfile, profile: LayerProfile) -> tuple[Cell, ...]:
    texts = (
        str(row.index),
        row.op,
        row.tensor,
        f"{row.ms:.4f}",
        _percent(row.ms, profile.ms),
        figures.size(row.live_bytes),
        figures.size(row.weights_bytes),
        _percent(row.output_error, profile.output_error),
    )
    return tuple(Cell(text) for text in texts)


def _here(row: OpProfile, profile: LayerProfile) -> tuple[Cell, ...]:
    shown = (str(row.index), row.op, row.tensor, f"{row.ms:.4f}", _percent(row.ms, profile.ms))
    return tuple(Cell(text) for text in shown)


def _there(place: Elsewhere, at: int) -> tuple[Cell, Cell]:
    """Cost of an op in another place, and its share; marked where it is the largest of all."""
    cost = place.costs[at]
    if cost is None:
        return Cell(figures.MISSING), Cell(figures.MISSING)
    is_largest = cost == max(known for known in place.costs if known is not None)
    return Cell(_cost(cost, place.unit), "bad" if is_largest else ""), Cell(_percent(cost, place.total))


def _cost(cost: float, unit: str) -> str:
    return f"{cost:.4f}" if unit == "ms" else f"{cost:,.0f}"


def _total(place: Elsewhere) -> str:
    return f"{_cost(place.total, place.unit)} {place.unit} in all"


def _short(place: str) -> str:
    """The place in a column's head: what stands behind the scheme, or the form of the file."""
    scheme, separator, rest = place.partition("://")
    return (rest or scheme) if separator else f".{place.rpartition('.')[2]}"


def _change_cells(row: OpChange, profile: LayerProfile) -> tuple[Cell, ...]:
    return (
        Cell(row.tensor),
        Cell(row.op),
        Cell(_milliseconds(row.ms)),
        Cell(_milliseconds(row.before_ms)),
        Cell(f"{row.slower_ms:+.4f}", "bad" if row.slower_ms > _LEAST_SLOWER * profile.ms else ""),
        Cell(_percent(row.output_error, profile.output_error)),
        Cell(_percent(row.before_output_error, profile.output_error)),
        Cell(
            _percent(row.worse, profile.output_error, signed=True),
            "bad" if row.worse > _LEAST_WORSE * profile.output_error else "",
        ),
    )


def _milliseconds(value: float | None) -> str:
    return figures.MISSING if value is None else f"{value:.4f}"


def _percent(part: float | None, whole: float, *, signed: bool = False) -> str:
    if part is None or whole <= 0:
        return figures.MISSING
    return f"{100 * part / whole:{'+' if signed else ''}.1f}"
