import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnedge.errors import InputError
from mnedge.report import comparison
from mnedge.report.comparison import Build


def _manifest(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": 1,
        "slug": report["slug"],
        "recipe": {"variant": "v3-small", "effort": "default", "data": "demo", "gates": {}},
        "tools": {"mnedge": "0.1.0", "numpy": "2.3.1", "onnxruntime": "1.31.1"},
        "weights_sha256": "a" * 64,
        "calibration_sha256": "b" * 64,
        "dataset": {"name": "demo"},
        "artifacts": report["artifacts"],
    }


@pytest.fixture
def builds(report: dict[str, Any]) -> list[Build]:
    """Two builds that are the same."""
    manifest = _manifest(report)
    return [Build(name, copy.deepcopy(report), copy.deepcopy(manifest)) for name in ("a", "b")]


def _rebuilt(build: Build, short: str) -> None:
    row = next(row for row in build.report["artifacts"] if row["path"].endswith(short))
    row["sha256"] = "f" * 64


def test_the_same_build_twice_differs_in_nothing(builds: list[Build]) -> None:
    assert comparison.changes(builds) == []
    assert comparison.first_difference([]) == "All artifacts are the same, byte for byte."
    for figure in comparison.figures(builds):
        assert figure.changes[0] is not None
        assert not figure.changes[0].shown
        assert figure.note == ""


def test_figures_are_held_against_the_first_build(builds: list[Build]) -> None:
    row = builds[1].report["accuracy"][1]
    row["top1"], row["top1_interval"] = 0.5, [0.46, 0.54]
    builds[1].report["latency"][1]["p50_ms"] /= 4
    builds[1].report["latency"][1]["p90_ms"] /= 4
    figures = {(figure.artifact, figure.name): figure for figure in comparison.figures(builds)}
    accuracy, latency = figures["int8.tflite", "top1"].changes[0], figures["int8.tflite", "p50_ms"].changes[0]
    assert accuracy is not None
    assert latency is not None
    assert (accuracy.value, accuracy.shown) == (pytest.approx(0.5 - 579 / 597), True)
    assert (latency.value, latency.shown) == (pytest.approx(4.0), True)


def test_other_conditions_are_said(builds: list[Build]) -> None:
    builds[1].report["accuracy"][0]["images"] = 12
    builds[1].report["latency"][0]["threads"] = 4
    notes = {figure.name: figure.note for figure in comparison.figures(builds) if figure.artifact == "fp32.tflite"}
    assert notes["top1"] == "not the same images"
    assert notes["p50_ms"] == "not the same threads"


def test_an_artifact_of_one_build_only_has_no_difference(builds: list[Build]) -> None:
    builds[0].report["artifacts"].pop()
    figure = comparison.figures(builds)[-1]
    assert figure.artifact == "int8.onnx"
    assert figure.values[0] is None
    assert figure.values[1] is not None
    assert figure.changes == (None,)


def test_quantization_is_where_builds_part_when_float_is_the_same(builds: list[Build]) -> None:
    builds[1].manifest["recipe"]["effort"] = "max"
    builds[1].manifest["tools"]["onnxruntime"] = "1.32.0"
    _rebuilt(builds[1], "int8.tflite")
    _rebuilt(builds[1], "int8.onnx")
    changes = comparison.changes(builds)
    assert [(change.stage, change.what) for change in changes] == [
        ("quantization", "recipe effort"),
        ("quantization", "int8.tflite"),
        ("formats", "int8.onnx"),
        ("measurement", "tool onnxruntime"),
    ]
    verdict = comparison.first_difference(changes)
    assert "stage 'quantization' (int8.tflite)" in verdict
    assert "recipe effort" in verdict
    assert "onnxruntime" not in verdict


def test_weights_come_before_all_that_they_change(builds: list[Build]) -> None:
    builds[1] = replace(builds[1], manifest={**builds[1].manifest, "weights_sha256": "c" * 64})
    for short in ("fp32.tflite", "int8.tflite"):
        _rebuilt(builds[1], short)
    verdict = comparison.first_difference(comparison.changes(builds))
    assert verdict == "The builds part at the stage 'weights' (weights); no recipe key or tool up to it changed."


def test_a_gate_alone_changes_no_artifact(builds: list[Build]) -> None:
    builds[1].manifest["recipe"]["gates"] = {"min_top1": 0.9}
    verdict = comparison.first_difference(comparison.changes(builds))
    assert verdict.startswith("All artifacts are the same, byte for byte; ")


def test_every_recipe_key_has_its_stage() -> None:
    from dataclasses import fields

    from mnedge.recipe import Recipe

    assert {field.name for field in fields(Recipe)} <= set(comparison._STAGE_OF_KEY)
    assert set(comparison._STAGE_OF_KEY.values()) | set(comparison._STAGE_OF_TOOL.values()) <= set(comparison.STAGES)


def test_a_build_is_read_by_folder_or_by_report(report: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert comparison.read_build(tmp_path).manifest == {}
    (tmp_path / "manifest.json").write_text(json.dumps(_manifest(report)))
    by_folder, by_file = comparison.read_build(tmp_path), comparison.read_build(tmp_path / "report.json")
    assert by_folder.report == by_file.report == report
    assert by_file.manifest["weights_sha256"] == "a" * 64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        ('{"schema": 2, "slug": "x", "variant": {}, "artifacts": []}', "schema is 2 where 1"),
        ('{"schema": 1, "artifacts": []}', "lacks slug, variant"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match=said):
        comparison.read_build(tmp_path)


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"report\.json cannot be read"):
        comparison.read_build(tmp_path)
