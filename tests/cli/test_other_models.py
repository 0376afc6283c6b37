"""Detectors and segmenters of others, command by command; the files are in the shared data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mnedge.cli import main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.shared


def _run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(args))
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def _json(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    code, out, err = _run(capsys, *args, "--json")
    assert code == 0, err
    return json.loads(out)


def _file(shared_data: Path, start: str) -> str:
    (path,) = (shared_data / "models" / "tasks").glob(f"{start}*.tflite")
    return str(path)


def test_the_options_of_a_detector_are_shown(capsys: pytest.CaptureFixture[str], shared_data: Path) -> None:
    path = _file(shared_data, "ssd_mobilenet_v1")
    found = _json(capsys, "inspect", path)
    (custom,) = found["custom_ops"]
    assert custom["kind"] == "TFLite_Detection_PostProcess"
    assert custom["options"]["num_classes"] == 37
    assert custom["options"]["nms_iou_threshold"] == 0.6
    assert [row["shape"] for row in found["outputs"]] == [[1, 10, 4], [1, 10], [1, 10], [1]]
    code, out, _ = _run(capsys, "inspect", path)
    assert code == 0
    assert "nms_iou_threshold" in out
    assert "1x10x4" in out
    assert "1 float op in" in out


@pytest.mark.parametrize(
    ("start", "kinds", "dilated"),
    [
        ("deeplabv3_mnv2_dm05", {"ARG_MAX", "RESIZE_BILINEAR", "CONCATENATION"}, 3),
        ("deeplab_mobilenet_edgetpu", {"TILE", "ARG_MAX"}, None),
        ("lightface", {"TRANSPOSE", "SLICE", "EXP", "PAD"}, 0),
        ("ssd_slim", {"PAD", "SOFTMAX"}, 0),
    ],
)
def test_every_op_is_shown(
    capsys: pytest.CaptureFixture[str], shared_data: Path, start: str, kinds: set[str], dilated: int | None
) -> None:
    found = _json(capsys, "inspect", _file(shared_data, start))
    assert {row["kind"] for row in found["ops"]} >= kinds
    if dilated is not None:
        assert sum(row["dilated"] for row in found["ops"]) == dilated
    assert "error" not in found["runtime"]
    _, out, _ = _run(capsys, "inspect", _file(shared_data, start))
    assert ("dilated" in out) == (dilated != 0 and any(row["dilated"] for row in found["ops"]))


def test_agreement_of_a_segmenter_is_that_of_its_pixels(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tflite"
    found = _json(capsys, "optimize", _file(shared_data, "deeplabv3_mnv2_dm05"), "-o", str(out))
    (row,) = found["agreement"]
    (output,) = row["outputs"]
    assert (row["top1_agreement"], output["unit"]) == (None, "indices")
    assert output["equal_fraction"] > 0.99
    # Global pooling is what kept XNNPACK from taking all but the last op.
    assert found["before"]["partitions"] == 2
    assert found["after"]["partitions"] == 1


def test_optimizing_a_detector_compares_every_output(
    capsys: pytest.CaptureFixture[str], shared_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.tflite"
    found = _json(capsys, "optimize", _file(shared_data, "ssd_slim"), "-o", str(out))
    (row,) = found["agreement"]
    assert len(row["outputs"]) == 2
    assert row["identical"]
    code, _, err = _run(capsys, "optimize", _file(shared_data, "ssd_slim"), "-o", str(out), "--data", "demo")
    assert code == 2
    assert "1x120x160x1" in err


@pytest.mark.parametrize("start", ["ssd_slim", "ssd_mobilenet_v1", "lightface"])
def test_bench_takes_any_input_and_any_outputs(
    capsys: pytest.CaptureFixture[str], shared_data: Path, start: str
) -> None:
    found = _json(capsys, "bench", _file(shared_data, start), "--seconds", "0.2")
    assert found["latency"][0]["p50_ms"] > 0
