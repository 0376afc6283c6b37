"""`mnedge bench` and `mnedge optimize`, as a user runs them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mnedge.cli import _run, app
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor


@pytest.fixture
def model(tmp_path: Path, small_int8: Graph) -> Path:
    """A model with an int8 HARD_SWISH behind its convolution."""
    swish = Tensor("swish", (1, 4, 4, 4), "int8", Quantization.per_tensor(0.02, -110))
    first, *others = small_int8.ops
    ops = (first, Op("HARD_SWISH", ("conv",), ("swish",)), *(op.with_inputs({"conv": "swish"}) for op in others))
    path = tmp_path / "theirs.tflite"
    path.write_bytes(write_tflite(small_int8.replaced(tensors=[swish], ops=ops)))
    return path


def test_bench_prints_medians_ratios_and_the_machine(
    model: Path, tmp_path: Path, small_int8: Graph, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "small.onnx"
    other.write_bytes(write_onnx(small_int8))
    assert _run(["bench", str(model), str(other), "--seconds", "0.05"]) == 0
    printed = capsys.readouterr().out
    for text in ("theirs.tflite", "small.onnx", "p50 ms", "95 % interval", "cores, governor", "partitions"):
        assert text in printed, text


def test_bench_json_is_the_result_alone(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["bench", str(model), "--seconds", "0.05", "--json", "--ops", "--sustained", "0.1"]) == 0
    result = json.loads(capsys.readouterr().out)
    row = result["latency"][0]
    assert {"artifact", "runtime", "device", "threads", "p50_ms", "p90_ms", "runs"} <= row.keys()
    assert result["ratios"] == []
    assert [op["op"] for op in result["ops"]["theirs.tflite"]] == ["CONV_2D", "HARD_SWISH", "MEAN", "SOFTMAX"]
    assert result["sustained"]["theirs.tflite"]


def test_optimize_says_what_it_did(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours.tflite"
    done = CliRunner().invoke(app, ["optimize", str(model), "-o", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    for text in ("lower-hard-swish", "1 HARD_SWISH", "Delegate partitions: 2 -> 1", "random inputs", "Speed:"):
        assert text in done.stdout, text
    again = CliRunner().invoke(
        app, ["optimize", str(out), "-o", str(tmp_path / "again.tflite")], catch_exceptions=False
    )
    assert "unchanged: nothing to gain" in again.stdout
    assert (tmp_path / "again.tflite").read_bytes() == out.read_bytes()


def test_optimize_measures_on_pictures_too(model: Path, tmp_path: Path) -> None:
    arguments = [str(model), "-o", str(tmp_path / "ours.tflite"), "--data", "demo", "--json"]
    result = json.loads(CliRunner().invoke(app, ["optimize", *arguments], catch_exceptions=False).stdout)
    assert [row["inputs"] for row in result["agreement"]] == ["random", "demo"]
    assert result["passes"][0]["name"] == "lower-hard-swish"


def test_an_onnx_becomes_an_ort(tmp_path: Path, small_int8: Graph) -> None:
    source, out = tmp_path / "small.onnx", tmp_path / "small.ort"
    source.write_bytes(write_onnx(small_int8))
    done = CliRunner().invoke(app, ["optimize", str(source), "-o", str(out)], catch_exceptions=False)
    assert "a minimal build needs" in done.stdout
    assert out.read_bytes()[4:8] == b"ORTM"
    assert "QLinearConv" in out.with_suffix(".required_operators.config").read_text()
