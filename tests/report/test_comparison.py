from dataclasses import replace
from pathlib import Path

import pytest

from mnedge.errors import InputError
from mnedge.report import comparison
from mnedge.report.comparison import Build
from mnedge.results.accuracy import Figures
from mnedge.results.manifest import BuildManifest, DatasetRow
from mnedge.results.report import Report
from mnedge.results.stored import to_json


def _manifest(report: Report) -> BuildManifest:
    return BuildManifest(
        slug=report.slug,
        recipe={"variant": "v3-small", "effort": "default", "data": "demo", "gates": {}},
        tools={"mnedge": "0.1.0", "numpy": "2.3.1", "onnxruntime": "1.31.1"},
        weights_sha256="a" * 64,
        dataset=DatasetRow("demo"),
        calibration_sha256="b" * 64,
        artifacts=report.artifacts,
    )


@pytest.fixture
def builds(report: Report) -> list[Build]:
    """Two builds that are the same."""
    return [Build(name, report, _manifest(report)) for name in ("a", "b")]


def _with(build: Build, **tables: object) -> Build:
    return replace(build, report=replace(build.report, **tables))  # type: ignore[arg-type] # any of its tables


def _told(build: Build, **values: object) -> Build:
    assert build.manifest is not None
    return replace(build, manifest=replace(build.manifest, **values))  # type: ignore[arg-type] # any of its fields


def _rebuilt(build: Build, *short: str) -> Build:
    rows = build.report.artifacts
    return _with(build, artifacts=tuple(replace(r, sha256="f" * 64) if r.path.endswith(short) else r for r in rows))


def test_the_same_build_twice_differs_in_nothing(builds: list[Build]) -> None:
    assert comparison.changes(builds) == []
    assert comparison.first_difference([]) == "All artifacts are the same, byte for byte."
    for figure in comparison.figures(builds):
        assert figure.changes[0] is not None
        assert not figure.changes[0].shown
        assert figure.note == ""


def test_figures_are_held_against_the_first_build(builds: list[Build]) -> None:
    one, row, *rows = builds[1].report.accuracy
    first, timed, *timings = builds[1].report.latency
    row = replace(row, figures=Figures({"top1": 0.5}, {"top1": (0.46, 0.54)}))
    timed = replace(timed, p50_ms=timed.p50_ms / 4, p90_ms=timed.p90_ms / 4)
    builds[1] = _with(builds[1], accuracy=(one, row, *rows), latency=(first, timed, *timings))
    figures = {(figure.artifact, figure.name): figure for figure in comparison.figures(builds)}
    accuracy, latency = figures["int8.tflite", "top1"].changes[0], figures["int8.tflite", "p50_ms"].changes[0]
    assert accuracy is not None
    assert latency is not None
    assert (accuracy.value, accuracy.shown) == (pytest.approx(0.5 - 579 / 597), True)
    assert (latency.value, latency.shown) == (pytest.approx(4.0), True)


def test_other_conditions_are_said(builds: list[Build]) -> None:
    row, *accuracy = builds[1].report.accuracy
    timed, *latency = builds[1].report.latency
    row, timed = replace(row, images=12), replace(timed, threads=4)
    builds[1] = _with(builds[1], accuracy=(row, *accuracy), latency=(timed, *latency))
    notes = {figure.name: figure.note for figure in comparison.figures(builds) if figure.artifact == "fp32.tflite"}
    assert notes["top1"] == "not the same images"
    assert notes["p50_ms"] == "not the same threads"


def test_an_artifact_of_one_build_only_has_no_difference(builds: list[Build]) -> None:
    builds[0] = _with(builds[0], artifacts=builds[0].report.artifacts[:-1])
    figure = comparison.figures(builds)[-1]
    assert figure.artifact == "int8.onnx"
    assert figure.values[0] is None
    assert figure.values[1] is not None
    assert figure.changes == (None,)


def test_quantization_is_where_builds_part_when_float_is_the_same(builds: list[Build]) -> None:
    assert builds[1].manifest is not None
    recipe = {**builds[1].manifest.recipe, "effort": "max"}
    tools = {**builds[1].manifest.tools, "onnxruntime": "1.32.0"}
    builds[1] = _told(_rebuilt(builds[1], "int8.tflite", "int8.onnx"), recipe=recipe, tools=tools)
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
    builds[1] = _told(_rebuilt(builds[1], "fp32.tflite", "int8.tflite"), weights_sha256="c" * 64)
    verdict = comparison.first_difference(comparison.changes(builds))
    assert verdict == "The builds part at the stage 'weights' (weights); no recipe key or tool up to it changed."


def test_a_gate_alone_changes_no_artifact(builds: list[Build]) -> None:
    assert builds[1].manifest is not None
    builds[1] = _told(builds[1], recipe={**builds[1].manifest.recipe, "gates": {"min_top1": 0.9}})
    verdict = comparison.first_difference(comparison.changes(builds))
    assert verdict.startswith("All artifacts are the same, byte for byte; ")


def test_every_recipe_key_has_its_stage() -> None:
    from dataclasses import fields

    from mnedge.recipe import Recipe

    assert {field.name for field in fields(Recipe)} <= set(comparison._STAGE_OF_KEY)
    assert set(comparison._STAGE_OF_KEY.values()) | set(comparison._STAGE_OF_TOOL.values()) <= set(comparison.STAGES)


def test_a_build_is_read_by_folder_or_by_report(report: Report, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(to_json(report))
    assert comparison.read_build(tmp_path).manifest is None
    (tmp_path / "manifest.json").write_text(to_json(_manifest(report)))
    by_folder, by_file = comparison.read_build(tmp_path), comparison.read_build(tmp_path / "report.json")
    assert by_folder.report == by_file.report == report
    assert by_file.manifest == _manifest(report)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"is not a report\.json"),
        ("[]", r"is not a report\.json"),
        (
            '{"schema": 3, "slug": "x", "variant": {"family": "v1", "alpha": 1, "resolution": 96, "classes": 2}}',
            "has schema 3, this mnedge reads schema 1",
        ),
        ('{"schema": 1, "artifacts": []}', "missing required field `slug`"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match=said):
        comparison.read_build(tmp_path)


def test_a_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"report\.json cannot be read"):
        comparison.read_build(tmp_path)
