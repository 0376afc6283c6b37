"""The published schemas say what the nouns write, and the pages say the same."""

from __future__ import annotations

import json
import runpy
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from mnedge.results import manifest as m
from mnedge.results.accuracy import AccuracyRow, Figures, WorstPicture
from mnedge.results.latency import BoardState, LatencyRow
from mnedge.results.metric import declared
from mnedge.results.outputs import OutputRow
from mnedge.results.parity import ParityRow
from mnedge.results.report import ArtifactRow, GateRow, Int8Row, MemoryRow, Report, VariantRow
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    Hold = Callable[[str, str], None]

_DOCS = Path(__file__).parents[2] / "docs"
_DIGEST = "0" * 64
_ARTIFACT = ArtifactRow("a.tflite", "tflite", "int8", "int8", "cpu", 3, _DIGEST)


def _report() -> Report:
    """A report whose every field says something."""
    metrics = {metric.key: 0.5 for metric in declared() if not metric.by_class}
    classes = {metric.key: {"ant": 0.5, "bee": None} for metric in declared() if metric.by_class}
    worst = (WorstPicture("a.png", {"missed": 2, "iou": 0.25}),)
    figures = Figures(metrics, dict.fromkeys(metrics, (0.25, 0.75)), classes, worst)
    state = BoardState(
        {"model": "Raspberry Pi 4"}, emulated=True, unstable=("hot",), temperature_c=80.5, clock_mhz=None
    )
    latency = LatencyRow("a.tflite", "litert 2", "ssh://pi", 1, 2.5, 3.5, 4.5, 100, partitions=1, state=state)
    return Report(
        slug="a",
        variant=VariantRow("v2", 0.35, 96, 2, output_stride=16, parameters=10, macs=20),
        artifacts=(_ARTIFACT,),
        accuracy=(AccuracyRow("a.tflite", "litert 2", "local", "photos", 9, figures, 1),),
        latency=(latency, LatencyRow("a.onnx", "onnxruntime 1", "local", 1, 2.5, 3.5)),
        parity=(
            ParityRow("a.tflite", "a.onnx", 9, 1.0, 0.0, 0.0, 40.5, ("a.png",)),
            ParityRow("a", "b", 9, None, None),
        ),
        int8=(Int8Row("a.tflite", 10, 1, ("ADD x",), 1), Int8Row("a.onnx", 10, None)),
        memory=(MemoryRow("a", "cortex-m4", 1, 2, None),),
        gates=(GateRow("min_top1", 0.5, 0.5, passed=True), GateRow("int8_only", True, None, passed=False)),  # noqa: FBT003
        outputs=(OutputRow(artifact="a", output="y", kind="numbers", device="local", dataset="x", images=1),),
    )


def test_files_are_those_of_the_code() -> None:
    for place, text in runpy.run_path(str(_DOCS / "schemas.py"))["render"]().items():
        assert (_DOCS / place).read_text(encoding="utf-8") == text, f"{place}: run python docs/schemas.py"


@pytest.mark.parametrize("path", sorted((_DOCS / "schemas").iterdir()), ids=lambda path: path.name)
def test_schemas_are_schemas(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))


def test_a_report_with_every_field_fits(hold_to_schema: Hold) -> None:
    hold_to_schema("report-1", to_json(_report()))
    hold_to_schema("report-1", to_json(Report(slug="a", variant=VariantRow(None, None, 0, 2))))


def test_every_field_of_the_report_is_described() -> None:
    schema = json.loads((_DOCS / "schemas" / "report-1.json").read_text(encoding="utf-8"))
    assert list(schema["properties"]) == [field.name for field in fields(Report)]
    for row in (schema, schema["$defs"]["AccuracyRow"], schema["$defs"]["LatencyRow"], schema["$defs"]["ParityRow"]):
        assert all("description" in shape for shape in row["properties"].values())
    assert "null" in schema["$defs"]["ParityRow"]["properties"]["snr_db"]["description"]


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2}, {"slug": None}, {"gates": [{"name": "min_top1"}]}, {"surprise": 1},
        {"accuracy": [{"artifact": "a", "runtime": "b", "device": "c", "dataset": "d", "images": 1, "top1": 1.5}]},
        {"accuracy": [{"artifact": "a", "runtime": "b", "device": "c", "dataset": "d", "images": "one"}]},
        {"artifacts": [{**json.loads(to_json(_ARTIFACT)), "io": "int4"}]},
    ],
)  # fmt: skip
def test_what_is_no_report_does_not_fit(change: dict[str, object], hold_to_schema: Hold) -> None:
    with pytest.raises(jsonschema.ValidationError):
        hold_to_schema("report-1", json.dumps({**json.loads(to_json(_report())), **change}))


def test_a_report_of_a_later_mnedge_may_say_more() -> None:
    schema = json.loads((_DOCS / "schemas" / "report-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate({**json.loads(to_json(_report())), "energy": []})


def test_manifests_and_checksums_fit(hold_to_schema: Hold) -> None:
    file = m.FileRow("labels.txt", 3, _DIGEST)
    build = m.BuildManifest(
        slug="a",
        recipe={"int8": True},
        tools={"mnedge": "0.2.0"},
        weights_sha256=None,
        dataset=m.DatasetRow("photos", {"crop_fraction": 0.875, "fit": "crop"}, {"seed": 1, "twins": True}, _DIGEST),
        calibration=m.CalibrationRow("photos", 24, "", ""),
        calibration_sha256=_DIGEST,
        artifacts=(_ARTIFACT,),
        labels=file,
    )
    hold_to_schema("manifest-1", to_json(build))
    model = m.BundledModel("a", None, _DIGEST, (_ARTIFACT,))
    gates = (m.KeptGate("int8_only", True, passed=True),)  # noqa: FBT003
    bundle = m.BundleManifest(
        bundle="android", slug="a", version="1.0.0", tools={}, model=model, gates=gates, files=(file,)
    )
    hold_to_schema("bundle-manifest-1", to_json(bundle))
    hold_to_schema("checksums-1", to_json(m.Checksums((file,))))
