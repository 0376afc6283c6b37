"""Gates: limits on measurements; a broken limit fails the build."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from mnedge.errors import GateError
from mnedge.recipe import HEADLINES
from mnedge.results.report import GateRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnedge.results.report import Report

_KIB = 1024


def _int8_paths(report: Report) -> set[str]:
    return {row.path for row in report.artifacts if row.precision == "int8"}


def _figures(report: Report, metric: str, precision: str) -> list[float]:
    paths = {row.path for row in report.artifacts if row.precision == precision}
    found = [row.metric(metric) for row in report.accuracy if row.artifact in paths]
    return [value for value in found if value is not None]


def _lowest(metric: str) -> Callable[[Report], float | None]:
    def measure(report: Report) -> float | None:
        return min(_figures(report, metric, "int8") or _figures(report, metric, "fp32"), default=None)

    return measure


def _largest_drop(metric: str) -> Callable[[Report], float | None]:
    def measure(report: Report) -> float | None:
        before, after = (_figures(report, metric, precision) for precision in ("fp32", "int8"))
        return max(before) - min(after) if before and after else None

    return measure


def _max_p50_ms(report: Report) -> float | None:
    paths = _int8_paths(report)
    return max((row.p50_ms for row in report.latency if row.artifact in paths), default=None)


def _max_size_kib(report: Report) -> float | None:
    rows = (row for row in report.artifacts if row.precision == "int8" and row.format == "tflite")
    return max((row.bytes / _KIB for row in rows), default=None)


def _memory_kib(field: Literal["arena", "flash"]) -> Callable[[Report], float | None]:
    def measure(report: Report) -> float | None:
        rows = [row.arena_with_ends_bytes if field == "arena" else row.flash_bytes for row in report.memory]
        # The memory of an artifact is not known where it was not compiled: no limit is then shown to be kept.
        return None if None in rows else max((size / _KIB for size in rows if size is not None), default=None)

    return measure


def _min_speedup_over_float(report: Report) -> float | None:
    """The lowest ratio of float to int8 median over formats, each against its own float file."""
    p50 = {row.artifact: row.p50_ms for row in report.latency}
    ratios = []
    for path in _int8_paths(report):
        reference = f"{report.slug}.fp32.{path.rpartition('.')[2]}"
        if path in p50 and reference in p50:
            ratios.append(p50[reference] / p50[path])
    return min(ratios, default=None)


def _float_ops(report: Report) -> float | None:
    counted = [row.float_ops for row in report.int8 if row.float_ops is not None]
    return float(sum(counted)) if counted else None


def _parity(report: Report) -> float | None:
    int8 = _int8_paths(report)
    rows = [
        row.top1_agreement
        for row in report.parity
        if (row.reference in int8) == (row.artifact in int8) and row.top1_agreement is not None
    ]
    return min(rows, default=None)


# name: (what is measured, whether the limit is the lowest allowed value)
_GATES: dict[str, tuple[Callable[[Report], float | None], bool]] = {
    "max_p50_ms": (_max_p50_ms, False),
    "max_size_kib": (_max_size_kib, False),
    "max_arena_kib": (_memory_kib("arena"), False),
    "max_flash_kib": (_memory_kib("flash"), False),
    "min_speedup_over_float": (_min_speedup_over_float, True),
    "int8_only": (_float_ops, False),
    "parity": (_parity, True),
}


def _known() -> dict[str, tuple[Callable[[Report], float | None], bool]]:
    return {
        **{f"min_{metric}": (_lowest(metric), True) for metric in HEADLINES},
        **{f"max_{metric}_drop": (_largest_drop(metric), False) for metric in HEADLINES},
        **_GATES,
    }


def gate_rows(report: Report, gates: Mapping[str, float | bool]) -> tuple[GateRow, ...]:
    """Holds a report against its gates.

    Returns:
        The gates in their order; one whose figure was not measured has `measured` None and fails.
    """
    known, rows = _known(), []
    for name, limit in gates.items():
        if name == "int8_only" and not limit:
            continue
        measure, is_lower_limit = known[name]
        measured = measure(report)
        bound = 0.0 if name == "int8_only" else float(limit)
        passed = measured is not None and (measured >= bound if is_lower_limit else measured <= bound)
        rows.append(GateRow(name, limit, measured, passed))
    return tuple(rows)


def check_gates(rows: Sequence[GateRow]) -> None:
    """Raises GateError where a gate failed; the message names limit and measurement of each."""
    failed = [row for row in rows if not row.passed]
    if failed:
        said = "; ".join(
            f"{row.name}: limit {row.limit}, measured {'nothing' if row.measured is None else row.measured}"
            for row in failed
        )
        raise GateError(f"{len(failed)} of {len(rows)} gates failed: {said}")
