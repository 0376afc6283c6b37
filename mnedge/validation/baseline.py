"""A build against an earlier one: no figure worse than before by more than its tolerance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnedge.errors import InputError
from mnedge.recipe import HEADLINES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SCHEMA = 1

# tolerance: (table of report.json, what tells its rows apart); those of the tasks' headlines are all alike
_ACCURACY = ("accuracy", ("artifact", "runtime", "device", "dataset"))
_FIGURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "bytes": ("artifacts", ("path",)),
    "arena_bytes": ("memory", ("artifact", "target")),
    "flash_bytes": ("memory", ("artifact", "target")),
    "p50_ms": ("latency", ("artifact", "runtime", "device", "threads")),
}


def read_baseline(path: Path, slug: str) -> dict[str, Any]:
    """Reads the report.json that a build is held against.

    Args:
        path: The file.
        slug: Name of the build.

    Raises:
        InputError: No such file, not a report, or one of another model.
    """
    try:
        report = json.loads(path.read_bytes())
        assert report["schema"] == _SCHEMA
        assert all(isinstance(report[table], list) for table, _ in (_ACCURACY, *_FIGURES.values()))
        found = str(report["slug"])
    except OSError as exc:
        raise InputError(f"--baseline {path} cannot be read: {exc.strerror}; give the report.json of a build") from exc
    except (ValueError, KeyError, TypeError, AssertionError) as exc:
        raise InputError(f"--baseline {path} is no report.json of schema {_SCHEMA} ({exc!r})") from exc
    if found != slug:
        raise InputError(f"--baseline {path} is of {found}, this build is {slug}; compare two builds of one model")
    return dict(report)


def baseline_rows(
    report: Mapping[str, Any], baseline: Mapping[str, Any], tolerances: Mapping[str, float]
) -> list[dict[str, Any]]:
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
        table, names = _ACCURACY if figure in HEADLINES else _FIGURES[figure]
        now = {tuple(row[name] for name in names): row.get(figure) for row in report[table]}
        for row in baseline[table]:
            before = row.get(figure)
            if before is None:
                continue
            key = tuple(row[name] for name in names)
            is_accuracy = figure in HEADLINES
            limit = before - tolerance if is_accuracy else before * (1 + tolerance)
            measured = now.get(key)
            passed = measured is not None and (measured >= limit if is_accuracy else measured <= limit)
            name = f"baseline {figure} {' '.join(map(str, key))}"
            rows.append({"name": name, "limit": limit, "measured": measured, "passed": passed})
    return rows
