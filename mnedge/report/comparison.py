"""Builds side by side: figures, whether the measurements show a difference, and which stage it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnedge.errors import InputError
from mnedge.report import difference
from mnedge.report.summary import METRICS, lines, metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mnedge.report.difference import Difference
    from mnedge.report.summary import Line, Row

_SCHEMA = 1

# The stage that a recipe key, a tool or a checksum first acts in. Stages are in their order.
STAGES = ("data", "weights", "float model", "calibration", "quantization", "formats", "bundle", "measurement", "gates")
_STAGE_OF_KEY = {
    "data": "data",
    "skip_broken": "data",
    "weights": "weights",
    "seed": "weights",
    "variant": "float model",
    "alpha": "float model",
    "resolution": "float model",
    "classes": "float model",
    "task": "float model",
    "head": "float model",
    "output_stride": "float model",
    "calibration": "calibration",
    "int8": "quantization",
    "method": "quantization",
    "effort": "quantization",
    "granularity": "quantization",
    "io": "quantization",
    "allow_float": "quantization",
    "post_processing": "formats",
    "onnx_activations": "formats",
    "targets": "quantization",
    "bundles": "bundle",
    "threads": "measurement",
    "gates": "gates",
    "tolerances": "gates",
}
_STAGE_OF_TOOL = {
    "mnedge": "data",
    "scikit-learn": "data",
    "pillow": "data",
    "numpy": "data",
    "keras": "float model",
    "tensorflow": "float model",
    "onnx": "formats",
    "flatbuffers": "formats",
    "ai-edge-litert": "measurement",
    "onnxruntime": "measurement",
}


@dataclass(frozen=True)
class Build:
    """What a build left behind.

    Attributes:
        name: What the user called it.
        report: report.json.
        manifest: manifest.json; empty where there is none.
    """

    name: str
    report: Mapping[str, Any]
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure of one artifact in every build.

    Attributes:
        artifact: File name without slug, and the device where it is not this machine.
        name: bytes, p50_ms or a metric.
        values: One per build; None where it is not there.
        changes: One per build but the first, against the first.
        note: Why they may not be held against each other, or "".
    """

    artifact: str
    name: str
    values: tuple[float | None, ...]
    changes: tuple[Difference | None, ...]
    note: str = ""


@dataclass(frozen=True)
class Change:
    """Something that is not the same in all builds.

    Attributes:
        stage: The first stage that it acts in.
        what: "recipe KEY", "tool NAME", or what a checksum is of.
        values: One per build.
    """

    stage: str
    what: str
    values: tuple[Any, ...]


def read_build(path: Path) -> Build:
    """Reads a build's folder or its report.json.

    Raises:
        InputError: There is no report, or it is not one.
    """
    report_path = path / "report.json" if path.is_dir() else path
    report = _json(report_path, "give the folder of a build, or its report.json")
    absent = [key for key in ("slug", "variant", "artifacts") if key not in report]
    if report.get("schema") != _SCHEMA or absent:
        lacking = f" and it lacks {', '.join(absent)}" if absent else ""
        raise InputError(
            f"{report_path} is not a report of this mnedge: its schema is {report.get('schema')!r} where {_SCHEMA} "
            f"is known{lacking}; give the folder of a build, or its report.json"
        )
    beside = report_path.parent / "manifest.json"
    manifest = _json(beside, "build it again") if beside.is_file() else {}
    return Build(str(path), report, manifest)


def _json(path: Path, advice: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}; {advice}") from exc
    except (ValueError, RecursionError) as exc:
        raise InputError(f"{path} is not JSON ({exc}); {advice}") from exc
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__} where an object is due; {advice}")
    return value


def figures(builds: Sequence[Build]) -> list[Figure]:
    """Size, accuracy and latency of every artifact that any build has, in the order in which they are found."""
    by_build = [{_place(line): line for line in lines(build.report)} for build in builds]
    found = []
    for place in dict.fromkeys(place for table in by_build for place in table):
        across = [table.get(place) for table in by_build]
        found += list(_figures_of(place, across, builds))
    return found


def _place(line: Line) -> str:
    away = f" on {line.device}" if line.device not in ("", "local") else ""
    return f"{line.short}{away}"


def _figures_of(place: str, across: Sequence[Line | None], builds: Sequence[Build]) -> Iterator[Figure]:
    sizes = tuple(line.bytes if line else None for line in across)
    yield Figure(place, "bytes", sizes, tuple(_of_sizes(sizes[0], size) for size in sizes[1:]))
    for metric in _shared_metrics(builds):
        rows = [line.accuracy if line else {} for line in across]
        values = tuple(row.get(metric) for row in rows)
        if any(value is not None for value in values):
            changes = tuple(difference.of_accuracy(rows[0], row, metric) for row in rows[1:])
            yield Figure(place, metric, values, changes, _note(rows, ("dataset", "images")))
    rows = [line.latency if line else {} for line in across]
    values = tuple(row.get("p50_ms") for row in rows)
    if any(value is not None for value in values):
        changes = tuple(difference.of_latency(rows[0], row) for row in rows[1:])
        yield Figure(place, "p50_ms", values, changes, _note(rows, ("runtime", "threads")))


def _shared_metrics(builds: Sequence[Build]) -> list[str]:
    held = {metric for build in builds for metric in metrics(build.report)}
    return [metric for metric in METRICS if metric in held]


def _of_sizes(first: float | None, second: float | None) -> Difference | None:
    if not first or not second:
        return None
    return difference.Difference(first / second, None, None, first != second)


def _note(rows: Sequence[Row], fields: Sequence[str]) -> str:
    """Names the conditions of a measurement that are not the same everywhere."""
    measured = [row for row in rows if row]
    unlike = [name for name in fields if len({row.get(name) for row in measured}) > 1]
    return f"not the same {' and '.join(unlike)}" if unlike else ""


def changes(builds: Sequence[Build]) -> list[Change]:
    """What is not the same in all manifests, in the order of the stages; artifacts from the reports."""
    found = []
    for section, stages in (("recipe", _STAGE_OF_KEY), ("tools", _STAGE_OF_TOOL)):
        tables = [build.manifest.get(section) or {} for build in builds]
        for key in dict.fromkeys(key for table in tables for key in table):
            values = tuple(table.get(key) for table in tables)
            found.append(Change(stages.get(key, "measurement"), f"{section.rstrip('s')} {key}", values))
    for key, stage, what in (
        ("dataset", "data", "data set"),
        ("weights_sha256", "weights", "weights"),
        ("calibration_sha256", "calibration", "calibration set"),
    ):
        found.append(Change(stage, what, tuple(build.manifest.get(key) for build in builds)))
    tables = [_checksums(build) for build in builds]
    for name in dict.fromkeys(name for table in tables for name in table):
        row = next(table[name] for table in tables if name in table)
        found.append(
            Change(_stage_of_artifact(row), name, tuple((table.get(name) or {}).get("sha256") for table in tables))
        )
    unlike = [change for change in found if len({json.dumps(value, sort_keys=True) for value in change.values}) > 1]
    return sorted(unlike, key=lambda change: STAGES.index(change.stage))


def _checksums(build: Build) -> dict[str, Row]:
    return {line.short: line.artifact for line in lines(build.report)}


def _stage_of_artifact(row: Row) -> str:
    if row.get("format") != "tflite":
        return "formats"
    return "float model" if row.get("precision") == "fp32" else "quantization"


def first_difference(found: Sequence[Change]) -> str:
    """The stage where the builds part, in a sentence: the first whose result differs, and what may have caused it."""
    results = [change for change in found if not change.what.startswith(("recipe ", "tool "))]
    causes = [change for change in found if change.what.startswith(("recipe ", "tool "))]
    if not results:
        told = "; what differs was asked for, or measured, after them" if causes else ""
        return f"All artifacts are the same, byte for byte{told}."
    stage = results[0].stage
    parts = ", ".join(change.what for change in results if change.stage == stage)
    before = [change.what for change in causes if STAGES.index(change.stage) <= STAGES.index(stage)]
    because = f"up to it, these changed: {', '.join(before)}" if before else "no recipe key or tool up to it changed"
    return f"The builds part at the stage {stage!r} ({parts}); {because}."
