import json
from pathlib import Path

import pytest

from mnedge.cli import main
from mnedge.results.accuracy import AccuracyRow, Figures
from mnedge.results.latency import LatencyRow
from mnedge.results.manifest import BuildManifest, DatasetRow
from mnedge.results.report import ArtifactRow, GateRow, Report, VariantRow
from mnedge.results.stored import to_json


def _run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(arg) for arg in args])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def _build(folder: Path, *, size: int, hits: float, effort: str) -> Path:
    folder.mkdir()
    name = "net.int8.tflite"
    made = ArtifactRow(name, "tflite", "int8", "int8", "cpu", size, f"{size:064x}")
    figures = Figures({"top1": hits}, {"top1": (hits - 0.03, hits + 0.03)})
    report = Report(
        slug="net",
        variant=VariantRow("v1", 1.0, 96, 10),
        artifacts=(made,),
        accuracy=(AccuracyRow(name, "litert", "local", "d", 500, figures),),
        latency=(LatencyRow(name, "litert", "local", 1, 2.0, 2.5),),
        gates=(
            GateRow("min_top1", 0.8, hits, passed=hits >= 0.8),
            GateRow("int8_only", limit=True, measured=0.0, passed=True),
        ),
    )
    manifest = BuildManifest(
        slug="net",
        recipe={"effort": effort},
        tools={},
        weights_sha256=None,
        dataset=DatasetRow("d"),
        calibration_sha256=None,
        artifacts=(made,),
    )
    (folder / "report.json").write_text(to_json(report))
    (folder / "manifest.json").write_text(to_json(manifest))
    return folder


def test_figures_changes_and_the_stage_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = _build(tmp_path / "one", size=2048, hits=0.9, effort="fast")
    other = _build(tmp_path / "other", size=1024, hits=0.7, effort="max")
    code, out, _ = _run(capsys, "compare", one, other)
    assert code == 0
    for expected in (
        "2.00× smaller",
        "−20.0 *",
        "recipe effort",
        "fast",
        "max",
        "the stage 'quantization' (int8.tflite)",
        "other  net  broke min_top1\n",
        "one  net\n",
    ):
        assert expected in out


def test_json_of_three_builds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [_build(tmp_path / str(place), size=1024, hits=0.8 + place / 100, effort="max") for place in range(3)]
    code, out, err = _run(capsys, "compare", *folders, "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    top1 = next(figure for figure in result["figures"] if figure["name"] == "top1")
    assert top1["values"] == pytest.approx([0.8, 0.81, 0.82])
    assert [change["shown"] for change in top1["changes"]] == [False, False]
    assert result["changes"] == []
    assert result["verdict"].startswith("All artifacts are the same")


def test_a_build_without_a_manifest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (_build(tmp_path / name, size=10, hits=0.5, effort="max") for name in "ab")
    (other / "manifest.json").unlink()
    _, out, _ = _run(capsys, "compare", one, other)
    assert f"no manifest.json beside {other}" in out


def test_bad_input_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = _build(tmp_path / "one", size=10, hits=0.5, effort="max")
    for args, said in (((one,), "two or more builds"), ((one, tmp_path / "no"), "cannot be read")):
        code, out, err = _run(capsys, "compare", *args)
        assert (code, out) == (2, "")
        assert err.startswith("mnedge: ")
        assert err.count("\n") == 1
        assert said in err
