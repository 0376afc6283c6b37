import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnedge.cli import main
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.runtimes import _session
from mnedge.runtimes._child import Child


def _run(capfd: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(arg) for arg in args])
    captured = capfd.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


@pytest.fixture
def tflite(small_int8: Graph, tmp_path: Path) -> Path:
    path = tmp_path / "small.tflite"
    path.write_bytes(write_tflite(small_int8))
    return path


@pytest.fixture
def reference(small_int8: Graph, tmp_path: Path) -> Path:
    """The float network that the int8 one stands for exactly."""
    real = [
        constant(tensor.name, tensor.real()) if tensor.is_constant else Tensor(tensor.name, tensor.shape, "float32")
        for tensor in small_int8.tensors.values()
        if tensor.quantization is not None
    ]
    path = tmp_path / "small.fp32.tflite"
    path.write_bytes(write_tflite(small_int8.replaced(tensors=real)))
    return path


def test_json_says_what_is_inside_and_how_litert_takes_it(tflite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capfd, "inspect", tflite, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["format"], found["quantized"], found["float_ops"]) == ("tflite", True, [])
    assert found["bytes"] == tflite.stat().st_size
    assert found["macs"] == 4 * 4 * 4 * 27
    runtime = found["runtime"]
    assert runtime["partitions"] == 1
    assert runtime["ops"] == 1 + sum(runtime["outside"].values())


def test_the_tables_are_printed(tflite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capfd, "inspect", tflite)
    assert code == 0
    for expected in (
        "quantized tflite",
        "CONV_2D",
        "1x8x8x3",
        "-128",
        "1 delegate partition, outside:",
        "no float ops",
    ):
        assert expected in out


def test_float_ops_of_a_quantized_model_are_named(
    small_int8: Graph, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    extra = [Tensor("real", (1, 4), "float32"), Tensor("soft", (1, 4), "float32")]
    ops = (
        *small_int8.ops[:2],
        Op("DEQUANTIZE", ("mean",), ("real",)),
        Op("SOFTMAX", ("real",), ("soft",), {"beta": 1.0}),
    )
    path = tmp_path / "mixed.tflite"
    path.write_bytes(write_tflite(small_int8.replaced(tensors=extra, ops=ops, outputs=("soft",))))
    _, out, _ = _run(capfd, "inspect", path, "--json")
    assert "SOFTMAX soft" in json.loads(out)["float_ops"]


def test_one_child_says_all_of_an_onnx(
    small_int8: Graph, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(write_onnx(small_int8))
    started: list[str] = []
    forked = _session._forked

    def counted(runtime: str) -> Child:
        started.append(runtime)
        return forked(runtime)

    monkeypatch.setattr(_session, "_forked", counted)
    _, out, _ = _run(capfd, "inspect", path, "--json")
    assert json.loads(out)["float_ops"] == []
    assert len(started) == 1


def test_a_float_model_is_not_blamed_for_float_ops(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tensors = [
        Tensor("x", (1, 4), "float32"),
        constant("w", np.ones((3, 4), np.float32)),
        Tensor("y", (1, 3), "float32"),
    ]
    op = Op("FULLY_CONNECTED", ("x", "w", None), ("y",), {"activation": "NONE"})
    path = tmp_path / "float.tflite"
    path.write_bytes(write_tflite(Graph({tensor.name: tensor for tensor in tensors}, (op,), ("x",), ("y",))))
    _, out, _ = _run(capfd, "inspect", path, "--json")
    found = json.loads(out)
    assert (found["quantized"], found["float_ops"]) == (False, None)


def test_onnx_shows_the_nodes_that_onnx_runtime_executes(
    small_int8: Graph, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(write_onnx(small_int8))
    code, out, _ = _run(capfd, "inspect", path, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["macs"] == 4 * 4 * 4 * 27
    assert found["runtime"]["executes"]["QLinearConv"] == 1
    assert found["runtime"]["ops"] == sum(found["runtime"]["executes"].values())


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.pb", b"1", "it inspects .tflite and .onnx"),
        ("x.tflite", b"12345678", "TFL3"),
        ("x.onnx", b"\xff", "not an ONNX"),
    ],
)
def test_what_cannot_be_read_is_one_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, data: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    code, out, err = _run(capfd, "inspect", path)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.shared
def test_v3_by_the_stock_converter_falls_apart_at_its_hard_swishes(
    shared_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = _run(capfd, "inspect", shared_data / "models/mcu/v3small_0.75_224_int8_random.tflite", "--json")
    found = json.loads(out)
    hard_swishes = next(row["count"] for row in found["ops"] if row["kind"] == "HARD_SWISH")
    assert found["runtime"]["outside"]["HARD_SWISH"] == hard_swishes
    # Each of them cuts the delegate's work once.
    assert found["runtime"]["partitions"] == hard_swishes + 1


def test_layers_are_measured_on_pictures_and_shown(
    tflite: Path, reference: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "layers.html"
    flags = ("--layers", tflite, "--reference", reference, "--images", 4)
    code, out, _ = _run(capfd, "inspect", *flags, "--json", "--page", page)
    found = json.loads(out)
    assert code == 0
    assert found["images"] == 4
    assert {row["tensor"] for row in found["tensors"]} == {"image", "conv", "mean", "scores", "weights"}
    assert "conv" in page.read_text()
    code, out, _ = _run(capfd, "inspect", *flags)
    assert code == 0
    assert "The 5 of 5 tensors that cost most" in out


def test_a_profile_shows_time_memory_and_error_beside_those_of_a_baseline(
    small_int8: Graph, tflite: Path, reference: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page, nodes = tmp_path / "layers.html", tmp_path / "nodes"
    onnx = tmp_path / "small.int8.onnx"
    onnx.write_bytes(write_onnx(small_int8))
    flags = ("--layers", "--profile", tflite, "--reference", reference, "--images", 4, "--baseline", tflite)
    written = ("--page", page, "--node-data", nodes)
    code, out, _ = _run(capfd, "inspect", *flags, "--onnx", onnx, "--json", *written)
    found = json.loads(out)
    assert code == 0
    made = [op.outputs[0] for op in small_int8.ops]
    assert [row["tensor"] for row in found["ops"]] == [row["tensor"] for row in found["changes"]] == made
    # What the call costs is taken off, which may be all of so small an op.
    assert all(row["ms"] >= 0 for row in found["ops"])
    assert [place["place"] for place in found["elsewhere"]] == [onnx.name]
    assert f"Against {tflite}" in page.read_text()
    assert "Ops in other places" in page.read_text()
    values = json.loads((nodes / "live_bytes.json").read_text())["results"]
    assert values == {row["tensor"]: {"value": row["live_bytes"]} for row in found["ops"]}
    assert (nodes / "slower_ms.json").is_file()


def test_libraries_do_not_greet(tflite: Path, reference: Path) -> None:
    """A process of its own: here TensorFlow has started long ago."""
    flags = ("--reference", str(reference), "--images", "2")
    command = [sys.executable, "-m", "mnedge", "inspect", "--layers", str(tflite), *flags]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    assert [row.partition(":")[0] for row in finished.stderr.splitlines()] == ["noise by tensor"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--profile",), "give --layers too"),
        (("--layers", "--node-data", "d"), "--node-data takes what --profile"),
        (("--layers", "--device", "adb://"), "--device takes what --profile"),
    ],
)
def test_a_profile_is_asked_for_whole(
    tflite: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    code, _, err = _run(capfd, "inspect", tflite, *flags)
    assert code == 2
    assert said in err


def test_layers_want_a_reference(tflite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = _run(capfd, "inspect", "--layers", tflite)
    assert code == 2
    assert "--reference FILE.tflite" in err


@pytest.mark.shared
def test_layers_of_a_model_that_was_not_made_here(
    shared_data: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    models = shared_data / "models" / "mlperf_tiny"
    flags = ("--reference", models / "vww_96_float.tflite", "--images", 8, "--json")
    caplog.set_level("INFO", "mnedge")
    code, out, _ = _run(capfd, "inspect", "--layers", models / "vww_96_int8.tflite", *flags)
    found = json.loads(out)
    assert code == 0
    assert "pixels are 0..1" in caplog.text
    assert len([row for row in found["tensors"] if row["what"] == "activation"]) == 32
    assert found["output_sqnr_db"]["int8"] > 15
