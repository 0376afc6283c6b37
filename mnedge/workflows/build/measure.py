"""The measuring stage: accuracy, parity, latency, int8 and memory of placed artifacts, as one report."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mnedge import __version__, cache, devices, runtimes
from mnedge.artifact import LABELS, file_row, write_text
from mnedge.models.variant import CLASSIFIER
from mnedge.report.overlay import data_uri
from mnedge.validation.gates import gate_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.artifact import Artifact
    from mnedge.workflows.build.job import Job
    from mnedge.validation.predict import Predictions

    Progress = Callable[[str, float], None]

_SCHEMA = 1
_ARM = ("aarch64", "arm64")
_PARITY_IMAGES = 200
_WIDE_SPREAD = 1.5


def measure(
    job: Job, artifacts: list[Artifact], accounts: list[dict[str, Any]], progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measures artifacts on this machine, or finds the figures of the same artifacts in the cache.

    Returns:
        The report (report.json), and the details that the pages show beside it.
    """
    rows = [artifact.row() for artifact in artifacts]
    key = {
        "artifacts": rows,
        "data": job.dataset.fingerprint,
        # The name stands in the rows: the same pictures under another name are measured again.
        "dataset": job.dataset.name,
        "labelled": job.is_labelled,
        "threads": job.recipe.threads,
        "machine": machine(),
    }

    def make(folder: Path) -> None:
        write_text(folder / "measured.json", json.dumps(_measured(job, artifacts, progress)))

    measured = json.loads((cache.stage("measure", key, make) / "measured.json").read_text())
    details = measured.pop("details")
    report = {
        "schema": _SCHEMA,
        "slug": job.slug,
        "task": job.task.name,
        "variant": _variant_row(job, artifacts[0]),
        "artifacts": rows,
        **measured,
    }
    report["memory"] = [_memory_row(artifact) for artifact in artifacts if artifact.path.is_dir()]
    report["gates"] = gate_rows(report, job.recipe.gates)
    details["warnings"] += [f"{finding.sentence()}." for finding in job.dataset.findings]
    details |= {
        "quantization": accounts,
        "steps": accounts[0]["steps"] if accounts else [],
        "recipe": job.recipe.as_json(),
        "tools": {"mnedge": __version__, "python": platform.python_version(), **cache.tool_versions()},
        "machine": machine(),
        "dataset": _describe(job),
        "plan": _memory_plan(artifacts),
        "manifest": _manifest(job, rows, accounts, artifacts[0].path.with_name(LABELS)),
    }
    return report, details


def _measured(job: Job, artifacts: list[Artifact], progress: Progress) -> dict[str, Any]:
    from mnedge.validation.accuracy import accuracy_row
    from mnedge.validation.latency import measure_latency
    from mnedge.validation.parity import parity_rows

    runnable = [artifact for artifact in artifacts if _runs_here(artifact)]
    predictions = _predictions(job, runnable, progress)
    accuracy, mixed_up = [], []
    if job.is_labelled:
        for artifact in runnable:
            said = predictions[artifact.path.name]
            figures = job.task.accuracy(said, job.dataset)
            accuracy.append(accuracy_row(said, figures, artifact=artifact.path.name, dataset=job.dataset.name))
            mixed_up += [{"artifact": artifact.path.name, **row} for row in job.task.mistakes(said, job.dataset)]
    progress("measure latency", 0.0)
    # How long this machine takes for the C of another says nothing.
    files = [artifact for artifact in runnable if artifact.format != "c"]
    latency = measure_latency([artifact.path for artifact in files], threads=job.recipe.threads)
    progress("measure latency", 1.0)
    samples = {row["artifact"]: row.pop("samples_ms") for row in latency}
    return {
        "accuracy": accuracy,
        "latency": latency,
        "parity": parity_rows(predictions, [artifact.path.name for artifact in runnable], job.task.agreement),
        "int8": [_int8_row(job, artifact, predictions) for artifact in files if artifact.precision == "int8"],
        "details": {
            "confusion": mixed_up,
            "counted": job.task.counted,
            "latency_samples": samples,
            "warnings": _warnings(latency),
            "gallery": _gallery(job, predictions),
        },
    }


def _gallery(job: Job, predictions: dict[str, Predictions]) -> dict[str, Any] | None:
    """The pictures that the first int8 artifact (or the first one) met worst; None where the task shows none."""
    if not job.is_labelled or job.task.gallery is None:
        return None
    name = next((name for name in predictions if name.endswith(".int8.tflite")), next(iter(predictions)))
    shown = job.task.gallery(predictions[name], job.dataset)
    rows = [{"source": source, "words": words, "image": data_uri(pixels)} for source, words, pixels in shown]
    return {"artifact": name, "rows": rows}


def _warnings(latency: list[dict[str, Any]]) -> list[str]:
    """Says so where latencies spread as they only do when other programs take the cores."""
    spread = max((row["p90_ms"] / row["p50_ms"] for row in latency), default=1.0)
    if spread < _WIDE_SPREAD:
        return []
    said = f"Latencies spread widely (p90 up to {spread:.1f} times the median): other work took the cores meanwhile."
    return [f"{said} `mnedge bench` measures again."]


def _runs_here(artifact: Artifact) -> bool:
    """Whether this machine executes it: generated C needs a C compiler, and what is for an Ethos-U an Ethos-U."""
    if not artifact.path.is_dir():
        return True
    return artifact.format == "c" and runtimes.get("compiled-c").version() is not None


def _predictions(job: Job, artifacts: list[Artifact], progress: Progress) -> dict[str, Predictions]:
    from mnedge.validation.predict import predict

    # Random weights have no accuracy; parity needs a few pictures only.
    numbers = job.dataset.split("eval", None if job.is_labelled else _PARITY_IMAGES)
    local = devices.get("local")
    found = {}
    for place, artifact in enumerate(artifacts):

        def told(fraction: float, place: int = place) -> None:
            progress("validate", (place + fraction) / len(artifacts) * 0.999)

        told(0.0)
        found[artifact.path.name] = predict(artifact.path, job.dataset, numbers, device=local, progress=told)
    progress("validate", 1.0)
    return found


def _int8_row(job: Job, artifact: Artifact, predictions: dict[str, Predictions]) -> dict[str, Any]:
    """The row of report.json: {artifact, ops, float_ops, float_op_names, delegate_partitions}.

    `float_ops` of an .onnx is None where this machine cannot tell: ONNX Runtime makes integer ops of uint8 on x86 and
    of int8 on Arm, and what is made for the other runs here in float.
    """
    from mnedge.validation.int8 import int8_ops

    names: list[str] | None
    ops, names = int8_ops(artifact.path)
    fused = "int8" if platform.machine().lower() in _ARM else "uint8"
    stored = job.recipe.onnx_activations or job.targets[artifact.target].onnx_activations
    if artifact.format == "onnx" and stored != fused:
        names = None
    return {
        "artifact": artifact.path.name,
        "ops": ops,
        "float_ops": None if names is None else len(names),
        "float_op_names": names or [],
        "delegate_partitions": predictions[artifact.path.name].info.partitions,
    }


def _memory_row(artifact: Artifact) -> dict[str, Any]:
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    fields = ("arena_bytes", "flash_bytes", "stack_bytes")
    return {"artifact": artifact.path.name, "target": artifact.target, **{name: manifest.get(name) for name in fields}}


def _memory_plan(artifacts: list[Artifact]) -> dict[str, Any] | None:
    """The plan of the first C artifact: {arena_bytes, tensors: [{name, kind, offset, bytes, first, last}]}."""
    compiled = next((artifact for artifact in artifacts if artifact.format == "c"), None)
    if compiled is None:
        return None
    manifest = json.loads((compiled.path / "manifest.json").read_text())
    return {"target": compiled.target, "arena_bytes": manifest["arena_bytes"], "tensors": manifest["blocks"]}


def _variant_row(job: Job, float_artifact: Artifact) -> dict[str, Any]:
    """The network and its cost: of a classifier by its published table, of another head by what was built."""
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.graph.macs import graph_macs, graph_parameters
    from mnedge.models.cost import cost

    if job.variant.head == CLASSIFIER:
        counted = cost(job.variant)
        return {**asdict(job.variant), "parameters": counted.parameters, "macs": counted.macs}
    graph = read_tflite(float_artifact.path)
    return {**asdict(job.variant), "parameters": graph_parameters(graph), "macs": graph_macs(graph)}


def machine() -> dict[str, Any]:
    """What the figures of this machine depend on and that stays: CPU, cores, memory, system."""
    import psutil

    from mnedge.validation.latency import conditions

    now = conditions()
    return {
        "cpu": now["cpu"],
        "cores": now["cores"],
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {now['machine']}",
    }


def _describe(job: Job) -> str:
    from mnedge.data.files import describe

    return describe(job.dataset)


def _manifest(job: Job, rows: list[dict[str, Any]], accounts: list[dict[str, Any]], labels: Path) -> dict[str, Any]:
    """What it takes to build the same again: resolved recipe, tool versions, checksums. No times, no host."""
    return {
        "schema": _SCHEMA,
        "slug": job.slug,
        "recipe": {**job.recipe.as_json(), "resolution": job.variant.resolution, "classes": job.variant.classes},
        "tools": {"mnedge": __version__, **cache.tool_versions()},
        "weights_sha256": job.weights_sha256 or None,
        "dataset": {"name": job.dataset.name, "preprocessing": asdict(job.dataset.preprocessing)},
        "calibration": job.calibration.row() if accounts else None,
        "calibration_sha256": job.calibration.sha256 if accounts else None,
        "artifacts": rows,
        "labels": file_row(labels),
    }
