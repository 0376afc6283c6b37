"""The tables of a report, as text cells; the terminal and the page print the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnedge.report import figures
from mnedge.report.summary import (
    CLASS_METRICS,
    METRICS,
    against_float,
    base_name,
    lines,
    metrics,
    short_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnedge.report.summary import AgainstFloat, Line
    from mnedge.results.outputs import OutputRow
    from mnedge.results.parity import ParityRow
    from mnedge.results.report import GateRow, Int8Row, LayerBits, MemoryRow, Report

_CLASSES = 30
# Share of the int8 error from which a layer at 8 bits has a row.
_LEAST_ERROR = 0.01
WIDE_BITS, NARROW_BITS = 16, 4
_FIGURES = {"mae": "mean error", "best_threshold": "best threshold", "best_top1": "top-1 there", "map": "mAP"}

Tone = Literal["", "good", "bad", "fp32", "int8", "code"]


@dataclass(frozen=True)
class Cell:
    """A cell: its text and its tone (good, bad), mark (the artifact's letter in the plots) or style (code)."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Subject of the table.
        columns: Names; one that starts with ">" is set to the right.
        rows: Cells, as many as columns.
        notes: Sentences below it: where the figures come from, what the signs mean.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def tables(report: Report) -> list[Table]:
    """Tables of a report that have a row: artifacts, classes, int8, parity, memory, gates."""
    slug = report.slug
    built = [
        artifacts(report),
        classes(report),
        _plain(
            "int8",
            ("artifact", ">ops", ">float ops", ">delegate partitions"),
            (_integer_row(row, slug) for row in report.int8),
        ),
        _plain(
            "Parity",
            (
                "artifact",
                "agrees with",
                ">pictures",
                ">same answers %",
                ">SNR, dB",
                ">largest error, LSB",
                ">largest error",
            ),
            (_parity_row(row, slug) for row in report.parity),
        ),
        _plain(
            "Memory, bytes",
            ("artifact", "target", ">arena", ">with input and output", ">flash", ">stack"),
            (_memory_row(row, slug) for row in report.memory),
        ),
        layers(report.layers),
        outputs(report.outputs, report.slug),
        gates(report),
    ]
    return [table for table in built if table.rows]


def artifacts(report: Report) -> Table:
    """One row per artifact and device: size, accuracy with its interval, latency, and the same against float."""
    found = lines(report)
    measured = metrics(report)
    headline = measured[0] if measured else None
    timed = any(line.latency for line in found)
    several_places = len({line.device for line in found if line.device}) > 1
    thread_counts = {line.latency.threads for line in found if line.latency}
    columns = ["", "artifact", *(["device"] if several_places else []), ">size", ">smaller"]
    for metric in measured:
        columns.append(f">{METRICS[metric]} %")
        if metric == headline:
            columns += [">95 % interval", ">against float"]
    columns += [">threads"] if len(thread_counts) > 1 else []
    columns += [">p50 ms", ">p90 ms", ">faster"] if timed else []
    table_rows = []
    for line in found:
        versus = against_float(line, found, headline)
        cells = [
            Cell(line.key, "int8" if line.precision == "int8" else "fp32"),
            Cell(line.short),
            *([Cell(line.device or figures.MISSING)] if several_places else []),
            Cell(figures.size(line.bytes)),
        ]
        cells.append(Cell(figures.times(versus.smaller) if versus else ""))
        for metric in measured:
            cells.append(Cell(_share(line.metric(metric))))
            if metric == headline:
                cells.append(Cell(figures.interval(line.interval(metric))))
                cells.append(_change(versus))
        if len(thread_counts) > 1:
            cells.append(Cell(figures.plain(line.latency.threads if line.latency else None)))
        if timed:
            p90_ms = line.latency.p90_ms if line.latency else None
            cells += [Cell(_number(line.p50_ms)), Cell(_number(p90_ms)), _faster(versus)]
        table_rows.append(tuple(cells))
    starred = any(cell.text.endswith("*") for row in table_rows for cell in row)
    notes = tuple(_provenance(found, starred=starred))
    return Table("Artifacts", tuple(columns), tuple(table_rows), notes)


def layers(rows: Sequence[LayerBits]) -> Table:
    """Returns the bits of layers, their shares of the int8 error, and what 16 bits cost.

    Where shares are known, layers at 8 bits that hardly err are only counted.
    """
    if any(row.weights_bits is not None for row in rows):
        return _weights(rows)
    is_measured = any(row.cost_fraction is not None for row in rows)
    told = [row for row in rows if not is_measured or row.bits == WIDE_BITS or _errs(row)]
    columns = ("layer", "op", ">bits", ">share of the error %", ">cost %")
    cells = (
        (
            Cell(row.layer),
            Cell(row.op),
            Cell(str(row.bits), "good" if row.bits == WIDE_BITS else ""),
            Cell(_share(row.error_fraction)),
            Cell(_share(row.cost_fraction)),
        )
        for row in told
    )
    others = (
        f"{len(rows) - len(told)} other layers at 8 bits bring less than {100 * _LEAST_ERROR:.0f} % of the error each."
    )
    meaning = (
        "Share of the error: of the noise that rounding activations to int8 brings to the scores. Cost: "
        "latency that this layer alone at 16 bits adds to the int8 model, its conversions included, on this machine."
    )
    return Table("Bits of activations", columns, tuple(cells), (others, meaning) if is_measured else ())


def _weights(rows: Sequence[LayerBits]) -> Table:
    """Returns the bits of the layers' weights, the bytes that they save, and the noise of 4 bits where measured."""
    is_measured = any(row.weights_noise is not None for row in rows)
    columns = ("layer", "op", ">bits of weights", ">bytes saved", *((">noise of 4 bits %",) if is_measured else ()))
    told = [row for row in rows if row.weights_bits == NARROW_BITS or row.weights_noise is not None]
    cells = (
        (
            Cell(row.layer),
            Cell(row.op),
            Cell(str(row.weights_bits), "good" if row.weights_bits == NARROW_BITS else ""),
            Cell(str(row.weights_bytes_saved or "")),
            *((Cell(_share(row.weights_noise)),) if is_measured else ()),
        )
        for row in told
    )
    others = (f"{len(rows) - len(told)} other layers have weights of 8 bits.",) if len(told) < len(rows) else ()
    saved = f"4 bits save {sum(row.weights_bytes_saved or 0 for row in rows)} bytes."
    meaning = "Noise: power that rounding these weights to 4 bits brings to the scores, over the noise that int8 has."
    return Table("Bits of weights", columns, tuple(cells), (saved, *others, *((meaning,) if is_measured else ())))


def _errs(row: LayerBits) -> bool:
    return row.error_fraction is not None and row.error_fraction >= _LEAST_ERROR


def outputs(rows: Sequence[OutputRow], slug: str = "") -> Table:
    """Returns one row per output of each artifact: its kind, its figures, and its agreement with the reference."""
    columns = ("artifact", "output", "kind", ">samples", "figures", ">same answers %", ">SNR, dB", ">largest error")
    cells = (
        (
            Cell(short_name(base_name(row.artifact), slug)),
            Cell(row.output),
            Cell(row.kind),
            Cell(figures.plain(row.images)),
            Cell(", ".join(_figure(key, value) for key, value in row.figures.items()) or figures.MISSING),
            Cell(_share(row.agreement)),
            Cell(figures.decibels(row.agreement_snr_db)),
            Cell(_number(row.max_abs_error)),
        )
        for row in rows
    )
    reference = next((row.reference for row in rows if row.reference), None)
    notes = (f"Answers, SNR and errors are against {short_name(base_name(reference), slug)}.",) if reference else ()
    return Table("Outputs", columns, tuple(cells), notes)


def _figure(key: str, value: float) -> str:
    """A figure of an output in words: shares in percent, the rest in its own unit."""
    if key in ("mae", "best_threshold"):
        return f"{_FIGURES[key]} {figures.three(value)}"
    if key == "snr_db":
        return f"{figures.decibels(value)} dB"
    return f"{_FIGURES.get(key, METRICS.get(key, key))} {figures.percent(value)}"


def classes(report: Report) -> Table:
    """The figure of each class, one column an artifact and place; no rows where a task has none by class."""
    found = [line for line in lines(report) if any(_of_classes(line, key) for key in CLASS_METRICS)]
    if not found:
        return Table("Classes", (), ())
    key = next(key for key in CLASS_METRICS if _of_classes(found[0], key))
    several_places = len({line.device for line in found}) > 1
    names = [f"{line.short} on {line.device}" if several_places else line.short for line in found]
    shown = list(_of_classes(found[0], key))[:_CLASSES]
    table_rows = tuple(
        (Cell(name), *(Cell(_share(_of_classes(line, key).get(name))) for line in found)) for name in shown
    )
    left = len(_of_classes(found[0], key)) - len(shown)
    notes = (f"and {left} more in the JSON report",) if left else ()
    return Table(
        f"{CLASS_METRICS[key]} of each class, %", ("class", *(f">{name}" for name in names)), table_rows, notes
    )


def _of_classes(line: Line, key: str) -> Mapping[str, float | None]:
    return line.accuracy.figures.classes.get(key, {}) if line.accuracy else {}


def gates(report: Report) -> Table:
    """The limits, what was measured, and the verdicts; failed ones first."""
    ordered = sorted(report.gates, key=lambda row: row.passed)
    return _plain("Gates", ("verdict", "gate", ">limit", ">measured"), (_gate_row(row) for row in ordered))


def _plain(title: str, columns: tuple[str, ...], table_rows: Iterator[tuple[Cell, ...]]) -> Table:
    return Table(title, columns, tuple(table_rows))


def _change(versus: AgainstFloat | None) -> Cell:
    change = versus.accuracy if versus else None
    if change is None:
        return Cell("")
    if not change.shown:
        return Cell(figures.points(change.value))
    return Cell(figures.points(change.value) + "*", "good" if change.value > 0 else "bad")


def _faster(versus: AgainstFloat | None) -> Cell:
    faster = versus.faster if versus else None
    if faster is None:
        return Cell("")
    if not faster.shown:
        return Cell(figures.times(faster.value))
    return Cell(figures.times(faster.value) + "*", "" if faster.value > 1 else "bad")


def _provenance(found: Sequence[Line], *, starred: bool) -> Iterator[str]:
    """Returns the sources of the figures: every method of measurement, once."""
    accuracy = {
        f"{figures.plain(line.accuracy.images)} pictures of {line.accuracy.dataset}, on {line.accuracy.device}": None
        for line in found
        if line.accuracy
    }
    latency: dict[str, list[str]] = {}
    for line in found:
        if line.latency:
            row = line.latency
            where = f"{row.runtime} on {row.device}, {row.threads} thread{'s' * (row.threads != 1)}"
            latency.setdefault(where, []).append(line.key)
    if accuracy:
        yield f"Accuracy: {'; '.join(accuracy)}."
    if latency:
        measured = [" ".join((*keys, where)) for where, keys in latency.items()]
        yield f"Latency: {'; '.join(measured)}."
    if any(line.artifact.format == "c" for line in found):
        yield "The size of C sources is what they take in flash."
    if starred:
        yield (
            "* A difference that the measurements show: accuracies differ by more than their 95 % intervals allow, "
            "or nine of ten runs are faster than the other's median."
        )


def _integer_row(row: Int8Row, slug: str) -> tuple[Cell, ...]:
    return (
        Cell(short_name(base_name(row.artifact), slug)),
        Cell(figures.plain(row.ops)),
        Cell(figures.plain(row.float_ops), "bad" if row.float_ops else ""),
        Cell(figures.plain(row.delegate_partitions)),
    )


def _parity_row(row: ParityRow, slug: str) -> tuple[Cell, ...]:
    return (
        Cell(short_name(base_name(row.artifact), slug)),
        Cell(short_name(base_name(row.reference), slug)),
        Cell(figures.plain(row.images)),
        Cell(_share(row.top1_agreement)),
        Cell(figures.decibels(row.snr_db)),
        Cell(_number(row.max_abs_lsb)),
        Cell(_number(row.max_abs_error)),
    )


def _memory_row(row: MemoryRow, slug: str) -> tuple[Cell, ...]:
    sizes = (row.arena_bytes, row.arena_with_ends_bytes, row.flash_bytes, row.stack_bytes)
    return (
        Cell(short_name(base_name(row.artifact), slug)),
        Cell(row.target),
        *(Cell(figures.plain(size)) for size in sizes),
    )


def _gate_row(row: GateRow) -> tuple[Cell, ...]:
    return (
        Cell("pass", "good") if row.passed else Cell("FAIL", "bad"),
        Cell(row.name),
        Cell(figures.plain(row.limit)),
        Cell(figures.plain(row.measured)),
    )


def _share(fraction: float | None) -> str:
    return figures.MISSING if fraction is None else f"{100 * fraction:.2f}"


def _number(value: float | None) -> str:
    return figures.MISSING if value is None else figures.three(value)
