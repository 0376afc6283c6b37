"""The measuring stage on tiny artifacts: rows, gates, and figures that the cache keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mnedge.artifact import Artifact
from mnedge.files import sha256
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.recipe import Recipe
from mnedge.results.latency import LatencyRow
from mnedge.results.report import ArtifactRow, Report
from mnedge.results.stored import from_json, to_json
from mnedge.validation.gates import gate_rows
from mnedge.workflows.build import measure as stage
from mnedge.workflows.build.job import Job, resolve

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph
    from mnedge.results.details import Details


@pytest.fixture
def job() -> Job:
    return resolve(Recipe(variant="v1", alpha=0.25, weights="random", classes=4, gates={"max_size_kib": 100.0}))


@pytest.fixture
def artifacts(tmp_path: Path, small_int8: Graph) -> list[Artifact]:
    files = {"small.int8.tflite": write_tflite(small_int8), "small.int8.onnx": write_onnx(small_int8)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    return [Artifact(tmp_path / name, name.rpartition(".")[2], "int8", "int8", "cpu") for name in files]  # type: ignore[arg-type]


def measured(job: Job, artifacts: list[Artifact]) -> tuple[Report, Details, list[str]]:
    told: list[str] = []
    report, details = stage.measure(job, artifacts, [], lambda name, _: told.append(name))
    return report, details, told


@pytest.mark.usefixtures("private_cache")
def test_every_artifact_is_measured(job: Job, artifacts: list[Artifact]) -> None:
    report, details, told = measured(job, artifacts)
    names = [artifact.path.name for artifact in artifacts]
    assert [row.path for row in report.artifacts] == names
    assert [row.sha256 for row in report.artifacts] == [sha256(artifact.path) for artifact in artifacts]
    assert [row.artifact for row in report.latency] == names
    assert all(0 < row.p50_ms <= row.p90_ms for row in report.latency)
    assert [(row.artifact, row.float_ops) for row in report.int8] == [(name, 0) for name in names]
    # One convolution, the mean and the softmax.
    assert report.int8[0].ops == 3
    assert (report.parity[0].top1_agreement or 0.0) > 0.9
    assert report.memory == ()
    assert {"validate", "measure latency"} <= set(told)
    assert details.plan is None
    assert from_json(to_json(report), Report, "report") == report


@pytest.mark.usefixtures("private_cache")
def test_random_weights_have_no_accuracy(job: Job, artifacts: list[Artifact]) -> None:
    report, details, _ = measured(job, artifacts[:1])
    assert report.accuracy == ()
    assert details.confusion == {}
    assert report.variant.classes == 4


@pytest.mark.usefixtures("private_cache")
def test_the_same_artifacts_are_not_measured_again(job: Job, artifacts: list[Artifact]) -> None:
    first, _, _ = measured(job, artifacts[:1])
    again, _, told = measured(job, artifacts[:1])
    assert again == first
    assert told == []
    other = replace(job, recipe=replace(job.recipe, threads=2))
    assert "measure latency" in measured(other, artifacts[:1])[2]


@pytest.mark.usefixtures("private_cache")
def test_gates_follow_the_recipe_though_figures_are_kept(job: Job, artifacts: list[Artifact]) -> None:
    report, _, _ = measured(job, artifacts[:1])
    assert [row.passed for row in gate_rows(report, {"max_size_kib": 100.0})] == [True]
    kept, _, told = measured(job, artifacts[:1])
    assert [row.passed for row in gate_rows(kept, {"max_size_kib": 0.1})] == [False]
    assert told == []


@pytest.mark.usefixtures("private_cache")
def test_the_manifest_holds_no_time_and_no_host(job: Job, artifacts: list[Artifact]) -> None:
    rows = tuple(ArtifactRow.of(artifact) for artifact in artifacts)
    manifest = json.loads(to_json(stage.manifest(job, rows, artifacts[0].path.with_name("labels.txt"), quantized=True)))
    assert manifest["recipe"]["resolution"] == 96
    assert manifest["weights_sha256"] is None
    assert set(manifest) == {
        "schema", "slug", "recipe", "tools", "weights_sha256", "dataset", "calibration", "calibration_sha256",
        "artifacts", "labels",
    }  # fmt: skip


def test_wide_spreads_are_said() -> None:
    steady, wide = (LatencyRow("a", "r", "local", 1, p50, p90) for p50, p90 in ((2.0, 2.2), (1.0, 3.0)))
    assert stage._warnings([]) == ()
    assert stage._warnings([steady]) == ()
    (said,) = stage._warnings([steady, wide])
    assert "p90 up to 3.0 times the median" in said


def test_the_machine_is_described() -> None:
    found = stage.machine()
    assert found.cores >= 1
    assert found.cpu
    assert found.memory_gib >= 1
