"""The measuring stage: accuracy, parity, latency, int8 and memory of placed artifacts, as one report."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING

from mnedge import __version__, cache, devices, runtimes
from mnedge.files import write_text
from mnedge.graph.graph import arguments_of
from mnedge.models.variant import CLASSIFIER
from mnedge.report.overlay import data_uri
from mnedge.results import stored
from mnedge.results.compilation import read_compiled
from mnedge.results.details import Details, Gallery, GalleryPicture, Measured, MemoryPlan
from mnedge.results.latency import Machine
from mnedge.results.manifest import BuildManifest, CalibrationRow, DatasetRow, FileRow
from mnedge.results.report import ArtifactRow, Int8Row, MemoryRow, Report, VariantRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.artifact import Artifact
    from mnedge.results.accuracy import AccuracyRow, Figures, MixUp
    from mnedge.results.details import QuantizationAccount
    from mnedge.results.latency import LatencyRow
    from mnedge.results.outputs import OutputRow
    from mnedge.validation.predict import Predictions
    from mnedge.workflows.build.job import Job

    Progress = Callable[[str, float], None]

_ARM = ("aarch64", "arm64")
_PARITY_IMAGES = 200
# Where medians are known to a hundredth, no gate and no reader gains from more runs.
_ENOUGH_OF_A_MEDIAN = 0.01
# Seconds of runs of an artifact: a build says whether int8 gains; `bench` says how much.
_SECONDS = 0.75
_WIDE_SPREAD = 1.5
_MEASURED = "measured.json"


def measure(
    job: Job, artifacts: Sequence[Artifact], accounts: Sequence[QuantizationAccount], progress: Progress
) -> tuple[Report, Details]:
    """Measures artifacts on this machine, or finds the figures of the same artifacts in the cache.

    Returns:
        The report, without gates, and the details that its page shows beside it.
    """
    rows = tuple(ArtifactRow.of(artifact) for artifact in artifacts)
    key = {
        "artifacts": stored.as_json(rows),
        "data": job.dataset.fingerprint,
        # The name stands in the rows: the same pictures under another name are measured again.
        "dataset": job.dataset.name,
        "labelled": job.is_labelled,
        "threads": job.recipe.threads,
        "machine": asdict(machine()),
    }

    def make(folder: Path) -> None:
        write_text(folder / _MEASURED, stored.to_json(_measured(job, artifacts, progress)))

    measured = stored.read(cache.stage("measure", key, make) / _MEASURED, Measured)
    report = Report(
        slug=job.slug,
        task=job.task.name,
        variant=variant_row(job, artifacts[0].path),
        artifacts=rows,
        accuracy=measured.accuracy,
        latency=measured.latency,
        parity=measured.parity,
        int8=measured.int8,
        outputs=measured.outputs,
        layers=accounts[0].layers if accounts else (),
        memory=tuple(_memory_row(artifact) for artifact in artifacts if artifact.path.is_dir()),
    )
    details = Details(
        confusion=measured.confusion,
        counted=measured.counted,
        latency_samples=measured.latency_samples,
        warnings=(*measured.warnings, *(f"{finding.sentence()}." for finding in job.dataset.findings)),
        gallery=measured.gallery,
        steps=accounts[0].steps if accounts else (),
        recipe=job.recipe.as_json(),
        tools={"mnedge": __version__, "python": platform.python_version(), **cache.tool_versions()},
        machine=machine(),
        dataset=_describe(job),
        plan=_memory_plan(artifacts),
    )
    return report, details


def _measured(job: Job, artifacts: Sequence[Artifact], progress: Progress) -> Measured:
    from mnedge.validation.accuracy import accuracy_row
    from mnedge.validation.heads import warn_if_inverted
    from mnedge.validation.latency import time_in_turns
    from mnedge.validation.parity import parity_rows

    runnable = [artifact for artifact in artifacts if _runs_here(artifact)]
    predictions = _predictions(job, runnable, progress)
    accuracy: list[AccuracyRow] = []
    confusion: dict[str, tuple[MixUp, ...]] = {}
    if job.has_accuracy:
        for name in (artifact.path.name for artifact in runnable):
            said = predictions[name]
            figures = figures_of(job, said)
            accuracy.append(accuracy_row(said, figures, artifact=name, dataset=job.dataset.name))
            if job.arrays is None:
                warn_if_inverted(name, figures, job.dataset.classes, 1, is_named=job.recipe.positive is None)
                confusion[name] = tuple(job.task.mistakes(said, job.dataset))
    progress("measure latency", 0.0)
    # How long this machine takes for the C of another says nothing.
    files = [artifact for artifact in runnable if artifact.format != "c"]
    timings = time_in_turns(
        [artifact.path for artifact in files],
        threads=job.recipe.threads,
        seconds=_SECONDS,
        enough=_ENOUGH_OF_A_MEDIAN,
    )
    progress("measure latency", 1.0)
    latency = tuple(timing.row() for timing in timings)
    return Measured(
        accuracy=tuple(accuracy),
        latency=latency,
        parity=tuple(parity_rows(predictions, [artifact.path.name for artifact in runnable], job.task.agreement)),
        int8=tuple(_int8_row(job, artifact, predictions) for artifact in files if artifact.precision == "int8"),
        confusion=confusion,
        counted=job.task.counted,
        latency_samples={
            timing.artifact.name: tuple(round(float(value), 5) for value in timing.samples_ms) for timing in timings
        },
        warnings=_warnings(latency),
        gallery=_gallery(job, predictions),
        outputs=_outputs(job, predictions),
    )


def _outputs(job: Job, predictions: dict[str, Predictions]) -> tuple[OutputRow, ...]:
    """Every output of a model on arrays, and of one with several outputs that are not the parts of one answer."""
    from mnedge.validation.outputs import output_rows

    said = list(predictions.items())
    if job.arrays is not None:
        return output_rows(said, job.dataset.name, job.arrays.part(_measured_on(job)).truths)
    if not said[0][1].others or job.task.finds_boxes:
        return ()
    return output_rows(said, job.dataset.name)


def _gallery(job: Job, predictions: dict[str, Predictions]) -> Gallery | None:
    """The pictures that the first int8 artifact (or the first one) met worst; None where the task shows none."""
    if not job.is_labelled or job.task.gallery is None or job.arrays is not None:
        return None
    name = next((name for name in predictions if name.endswith(".int8.tflite")), next(iter(predictions)))
    shown = job.task.gallery(predictions[name], job.dataset)
    return Gallery(name, tuple(GalleryPicture(source, words, data_uri(pixels)) for source, words, pixels in shown))


def _warnings(latency: Sequence[LatencyRow]) -> tuple[str, ...]:
    """Warns of latencies that spread as they do when other programs take the cores."""
    spread = max((row.p90_ms / row.p50_ms for row in latency), default=1.0)
    if spread < _WIDE_SPREAD:
        return ()
    said = f"Latencies spread widely (p90 up to {spread:.1f} times the median): other work took the cores meanwhile."
    return (f"{said} `mnedge bench` measures again.",)


def _runs_here(artifact: Artifact) -> bool:
    """Returns whether this machine runs an artifact: generated C needs a C compiler, Vela's models an Ethos-U."""
    if not artifact.path.is_dir():
        return True
    return artifact.format == "c" and runtimes.get("compiled-c").version() is not None


def _predictions(job: Job, artifacts: Sequence[Artifact], progress: Progress) -> dict[str, Predictions]:
    numbers = _measured_on(job)
    found = {}
    for place, artifact in enumerate(artifacts):

        def told(fraction: float, place: int = place) -> None:
            progress("validate", (place + fraction) / len(artifacts) * 0.999)

        told(0.0)
        found[artifact.path.name] = predictions_of(job, artifact.path, numbers, told)
    progress("validate", 1.0)
    return found


def predictions_of(
    job: Job, artifact: Path, numbers: NDArray[np.int64], progress: Callable[[float], None] | None = None
) -> Predictions:
    """Runs an artifact of a job on this machine.

    Args:
        job: The job.
        artifact: The artifact.
        numbers: Picture or sample numbers in the data set.
        progress: Called with the share of the pictures that are done, 0..1.
    """
    from mnedge.validation.predict import predict, predict_arrays

    local = devices.get("local")
    if job.model is not None and job.arrays is not None:
        named = arguments_of(job.model.network.graph.signatures)
        return predict_arrays(
            artifact,
            job.arrays.part(numbers),
            device=local,
            arguments=named,
            head=job.told_head,
            progress=progress,
        )
    return predict(
        artifact,
        job.dataset,
        numbers,
        device=local,
        classes=job.classes if job.task.learns_labels else None,
        head=job.told_head,
        progress=progress,
    )


def figures_of(job: Job, predictions: Predictions) -> Figures:
    """The figures of the job's task; for arrays, the figures of the output's kind."""
    from mnedge.validation.heads import head_figures

    if job.arrays is not None:
        return head_figures(predictions.head, predictions.outputs, predictions.labels)
    return job.task.accuracy(predictions, job.dataset)


def _measured_on(job: Job) -> NDArray[np.int64]:
    """Numbers of the pictures or samples: a few where there is parity only, as random weights have no accuracy."""
    return job.dataset.split(job.dataset.measured, None if job.is_labelled else _PARITY_IMAGES)


def _int8_row(job: Job, artifact: Artifact, predictions: dict[str, Predictions]) -> Int8Row:
    """Counts integer and float ops.

    `float_ops` of an .onnx is None where this machine cannot tell: ONNX Runtime makes integer ops of uint8 on x86 and
    of int8 on Arm, and what is made for the other runs here in float.
    """
    from mnedge.validation.int8 import int8_ops

    names: list[str] | None
    ops, names = int8_ops(artifact.path)
    fused = "int8" if platform.machine().lower() in _ARM else "uint8"
    wanted = job.recipe.onnx_activations or job.targets[artifact.target].onnx_activations
    if artifact.format == "onnx" and wanted != fused:
        names = None
    return Int8Row(
        artifact=artifact.path.name,
        ops=ops,
        float_ops=None if names is None else len(names),
        float_op_names=tuple(names or ()),
        delegate_partitions=predictions[artifact.path.name].info.partitions,
    )


def _memory_row(artifact: Artifact) -> MemoryRow:
    takes = read_compiled(artifact.path)
    return MemoryRow(
        artifact.path.name,
        artifact.target,
        takes.arena_bytes,
        takes.flash_bytes,
        takes.stack_bytes,
        ram_bytes=takes.ram_bytes,
    )


def _memory_plan(artifacts: Sequence[Artifact]) -> MemoryPlan | None:
    """The plan of the first C artifact."""
    first = next((artifact for artifact in artifacts if artifact.format == "c"), None)
    takes = None if first is None else read_compiled(first.path)
    if first is None or takes is None or takes.arena_bytes is None:
        return None
    return MemoryPlan(takes.arena_bytes, takes.blocks, first.target)


def variant_row(job: Job, float_tflite: Path) -> VariantRow:
    """The network and its cost: a classifier's from the published table, any other network's from its float graph."""
    from mnedge.formats.tflite_read import read_tflite
    from mnedge.graph.macs import graph_macs, graph_parameters
    from mnedge.models.cost import cost

    if job.variant is not None and job.variant.head == CLASSIFIER:
        counted = cost(job.variant)
        return VariantRow(**asdict(job.variant), parameters=counted.parameters, macs=counted.macs)
    graph = read_tflite(float_tflite)
    parameters, macs = graph_parameters(graph), graph_macs(graph)
    if job.model is None:
        return VariantRow(**asdict(job.network), parameters=parameters, macs=macs)
    network = job.model.network
    head = network.outputs[0].head
    return VariantRow(network.family, network.alpha, job.size[0], job.classes, head, None, parameters, macs)


def machine() -> Machine:
    """The part of this machine that its figures depend on and that stays."""
    import psutil

    from mnedge.validation.latency import conditions

    now = conditions()
    return Machine(
        cpu=now.cpu,
        cores=now.cores,
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        system=f"{platform.system()} {now.machine}",
    )


def _describe(job: Job) -> str:
    from mnedge.data.summary import summary

    return summary(job.dataset)


def manifest(job: Job, rows: tuple[ArtifactRow, ...], labels: Path, *, quantized: bool) -> BuildManifest:
    """Names all that it takes to build the same again. No times, no host.

    Args:
        job: Job of the build.
        rows: Artifacts of the build.
        labels: The file of the class names.
        quantized: Whether the calibration set was used.
    """
    return BuildManifest(
        slug=job.slug,
        recipe={**job.recipe.as_json(), "resolution": job.size[0] or None, "classes": job.classes},
        tools={"mnedge": __version__, **cache.tool_versions()},
        weights_sha256=job.weights_sha256 or None,
        dataset=DatasetRow(
            job.dataset.name,
            {} if job.arrays is not None else asdict(job.dataset.preprocessing),
            None if job.dataset.draw is None else asdict(job.dataset.draw),
            job.dataset.fingerprint,
        ),
        calibration=_calibration_row(job) if quantized else None,
        calibration_sha256=job.calibration.sha256 if quantized else None,
        artifacts=rows,
        labels=FileRow.of(labels),
    )


def _calibration_row(job: Job) -> CalibrationRow:
    used = job.calibration
    return CalibrationRow(used.name, len(used), used.source, used.licence)
