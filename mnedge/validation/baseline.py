"""A build against an earlier one: no figure worse than before by more than its tolerance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.recipe import HEADLINES
from mnedge.results.report import GateRow, read_report

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.results.report import Report

    # Columns that tell the rows of a table apart, as text, and the row's figure.
    Figures = Mapping[tuple[str, ...], float | None]


def read_baseline(path: Path, slug: str) -> Report:
    """Reads the report.json that a build is held against.

    Args:
        path: The file.
        slug: Name of the build.

    Raises:
        InputError: No such file, not a report, or one of another model.
    """
    try:
        report = read_report(path)
    except InputError as exc:
        raise InputError(f"--baseline: {exc}") from exc
    if report.slug != slug:
        raise InputError(
            f"--baseline {path} is of {report.slug}, this build is {slug}; compare two builds of one model"
        )
    return report


def baseline_rows(report: Report, baseline: Report, tolerances: Mapping[str, float]) -> tuple[GateRow, ...]:
    """Holds a report against an earlier one of the same model.

    Args:
        report: The build's.
        baseline: The earlier one.
        tolerances: By how much a figure may be worse: points of accuracy (0..1), shares of everything else. Figures
            without a tolerance are not compared.

    Returns:
        Rows as of `gate_rows`. What the baseline measured and this build did not has `measured` None and fails.
    """
    rows = []
    for figure, tolerance in tolerances.items():
        now = _figures(report, figure)
        for key, before in _figures(baseline, figure).items():
            if before is None:
                continue
            is_accuracy = figure in HEADLINES
            limit = before - tolerance if is_accuracy else before * (1 + tolerance)
            measured = now.get(key)
            passed = measured is not None and (measured >= limit if is_accuracy else measured <= limit)
            rows.append(GateRow(f"baseline {figure} {' '.join(key)}", limit, measured, passed))
    return tuple(rows)


def _figures(report: Report, figure: str) -> Figures:
    if figure in HEADLINES:
        return {(row.artifact, row.runtime, row.device, row.dataset): row.metric(figure) for row in report.accuracy}
    if figure == "bytes":
        return {(row.path,): row.bytes for row in report.artifacts}
    if figure == "p50_ms":
        return {(row.artifact, row.runtime, row.device, str(row.threads)): row.p50_ms for row in report.latency}
    arena = figure == "arena_bytes"
    return {(row.artifact, row.target): row.arena_bytes if arena else row.flash_bytes for row in report.memory}
