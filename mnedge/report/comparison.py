"""Builds side by side: figures, whether the measurements show a difference, and which stage it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mnedge.foreign import is_file, is_folder
from mnedge.report import difference
from mnedge.report.summary import METRICS, lines, metrics
from mnedge.results.comparison import Change, Comparison, Difference, Figure
from mnedge.results.manifest import BuildManifest
from mnedge.results.report import ArtifactRow, Report, read_report
from mnedge.results.stored import as_json, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mnedge.report.summary import Line

Measured = TypeVar("Measured")

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
    "model": "float model",
    "pixels": "float model",
    "size": "float model",
    "signature": "float model",
    "labels": "data",
    "positive": "data",
    "calibration": "calibration",
    "int8": "quantization",
    "method": "quantization",
    "effort": "quantization",
    "granularity": "quantization",
    "activations": "quantization",
    "max_slowdown": "quantization",
    "weights_bits": "quantization",
    "io": "quantization",
    "allow_float": "quantization",
    "post_processing": "formats",
    "onnx_activations": "formats",
    "targets": "quantization",
    "bundles": "bundle",
    "release": "bundle",
    "threshold": "bundle",
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
    """Files of a build.

    Attributes:
        name: Name that the user gave it.
        report: report.json.
        manifest: manifest.json; None if there is none.
    """

    name: str
    report: Report
    manifest: BuildManifest | None


def read_build(path: Path) -> Build:
    """Reads a build's folder or its report.json.

    Raises:
        InputError: There is no report, or it is not one.
    """
    report = read_report(path)
    beside = (path / "report.json" if is_folder(path) else path).parent / "manifest.json"
    return Build(str(path), report, read(beside, BuildManifest) if is_file(beside) else None)


def compared(builds: Sequence[Build]) -> Comparison:
    """Holds builds against the first one."""
    different = tuple(changes(builds))
    return Comparison(
        builds=tuple(build.name for build in builds),
        figures=tuple(figures(builds)),
        changes=different,
        verdict=first_difference(different),
        slugs=tuple(build.report.slug for build in builds),
        without_manifest=tuple(build.name for build in builds if build.manifest is None),
        broken_gates=tuple(tuple(gate.name for gate in build.report.gates if not gate.passed) for build in builds),
    )


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
    accuracies = [line.accuracy if line else None for line in across]
    for metric in _shared_metrics(builds):
        values = tuple(row.metric(metric) if row else None for row in accuracies)
        if any(value is not None for value in values):
            changed = tuple(difference.of_accuracy(accuracies[0], row, metric) for row in accuracies[1:])
            note = _note(accuracies, {"dataset": lambda row: row.dataset, "images": lambda row: row.images})
            yield Figure(place, metric, values, changed, note)
    latencies = [line.latency if line else None for line in across]
    values = tuple(row.p50_ms if row else None for row in latencies)
    if any(value is not None for value in values):
        changed = tuple(difference.of_latency(latencies[0], row) for row in latencies[1:])
        note = _note(latencies, {"runtime": lambda row: row.runtime, "threads": lambda row: row.threads})
        yield Figure(place, "p50_ms", values, changed, note)


def _shared_metrics(builds: Sequence[Build]) -> list[str]:
    held = {metric for build in builds for metric in metrics(build.report)}
    return [metric for metric in METRICS if metric in held]


def _of_sizes(first: float | None, second: float | None) -> Difference | None:
    if not first or not second:
        return None
    return Difference(first / second, None, None, first != second)


def _note(rows: Sequence[Measured | None], conditions: Mapping[str, Callable[[Measured], object]]) -> str:
    """Names the conditions of a measurement that are not the same everywhere."""
    measured = [row for row in rows if row is not None]
    unlike = [name for name, of in conditions.items() if len({of(row) for row in measured}) > 1]
    return f"not the same {' and '.join(unlike)}" if unlike else ""


def changes(builds: Sequence[Build]) -> list[Change]:
    """Returns the differences of the manifests, in the order of the stages; artifacts from the reports."""
    manifests = [build.manifest for build in builds]
    found = []
    for word, stages, tables in (
        ("recipe", _STAGE_OF_KEY, [manifest.recipe if manifest else {} for manifest in manifests]),
        ("tool", _STAGE_OF_TOOL, [manifest.tools if manifest else {} for manifest in manifests]),
    ):
        for key in dict.fromkeys(key for table in tables for key in table):
            values = tuple(table.get(key) for table in tables)
            found.append(Change(stages.get(key, "measurement"), f"{word} {key}", values))
    datasets = tuple(as_json(manifest.dataset) if manifest else None for manifest in manifests)
    weights = tuple(manifest.weights_sha256 if manifest else None for manifest in manifests)
    calibrations = tuple(manifest.calibration_sha256 if manifest else None for manifest in manifests)
    found += [
        Change("data", "data set", datasets),
        Change("weights", "weights", weights),
        Change("calibration", "calibration set", calibrations),
    ]
    made = [{line.short: line.artifact for line in lines(build.report)} for build in builds]
    for name in dict.fromkeys(name for table in made for name in table):
        across = [table.get(name) for table in made]
        stage = next(_stage_of_artifact(row) for row in across if row is not None)
        found.append(Change(stage, name, tuple(row.sha256 if row else None for row in across)))
    unlike = [change for change in found if len({json.dumps(as_json(v), sort_keys=True) for v in change.values}) > 1]
    return sorted(unlike, key=lambda change: STAGES.index(change.stage))


def _stage_of_artifact(row: ArtifactRow) -> str:
    if row.format != "tflite":
        return "formats"
    return "float model" if row.precision == "fp32" else "quantization"


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
