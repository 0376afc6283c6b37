"""`mnedge quantize`: a float file in, an int8 file out, with the account of what was done."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from mnedge.cli import app
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.graph.precision import float_ops
from mnedge.workflows.quantize import quantize

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path, digits_fp32: Graph) -> Path:
    path = tmp_path / "m.fp32.tflite"
    path.write_bytes(write_tflite(digits_fp32))
    return path


@pytest.mark.parametrize(("io", "dtype"), [("int8", "int8"), ("uint8", "uint8"), ("float32", "float32")])
def test_the_file_is_int8_with_the_ends_asked_for(source: Path, tmp_path: Path, io: str, dtype: str) -> None:
    out = tmp_path / "m.int8.tflite"
    arguments = [str(source), "-o", str(out), "--effort", "fast", "--io", io, "--json"]
    result = json.loads(CliRunner().invoke(app, ["quantize", *arguments], catch_exceptions=False).stdout)
    graph = read_tflite(out)
    assert float_ops(graph) == []
    assert {graph.tensors[name].dtype for name in (*graph.inputs, *graph.outputs)} == {dtype}
    assert result["bytes"] == out.stat().st_size
    assert result["float_ops"] == []
    assert result["steps"][-1]["agreement"] > 0.8
    assert (result["settings"]["effort"], result["settings"]["images"]) == ("fast", 200)


def test_the_table_says_what_each_step_gained(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.int8.tflite"
    arguments = [str(source), "-o", str(out), "--effort", "fast", "--ranges", "min-max", "--granularity", "per-tensor"]
    done = CliRunner().invoke(app, ["quantize", *arguments], catch_exceptions=False)
    assert "ranges: min-max" in done.stdout
    assert "0 of them float" in done.stdout
    scales = {tensor.quantization.scale.size for tensor in read_tflite(out).tensors.values() if tensor.quantization}
    assert scales == {1}


def test_the_table_says_how_many_bits_each_layer_has(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "m.int16.tflite"
    arguments = [str(source), "-o", str(out), "--effort", "fast", "--activations", "int16"]
    told = CliRunner().invoke(app, ["quantize", *arguments], catch_exceptions=False).stdout
    table = told[told.index("Bits of activations") : told.index(str(out))]
    assert max(map(len, table.splitlines())) <= 80
    graph = read_tflite(out)
    assert float_ops(graph) == []
    assert {graph.tensors[name].dtype for name in (*graph.inputs, *graph.outputs)} == {"int8"}
    assert sum(graph.tensors[op.outputs[0]].dtype == "int16" for op in graph.ops) > len(graph.ops) / 2
    again = CliRunner().invoke(app, ["quantize", *arguments, "--json"], catch_exceptions=False)
    rows = json.loads(again.stdout)["layers"]
    assert {row["bits"] for row in rows} == {16}
    assert {row["cost_fraction"] for row in rows} == {None}


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_training_goes_through_too(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.int8.tflite"
    arguments = [str(source), "-o", str(out), "--method", "qat", "--epochs", "1", "--json"]
    result = json.loads(CliRunner().invoke(app, ["quantize", *arguments], catch_exceptions=False).stdout)
    assert result["settings"]["method"] == "qat"
    assert result["settings"]["export"]["top1_agreement"] >= 0.99
    assert float_ops(read_tflite(out)) == []


def test_an_op_stays_float_only_when_allowed(tmp_path: Path, digits_fp32: Graph) -> None:
    shape = digits_fp32.tensors["conv"].shape
    bent = Tensor("bent", shape, "float32")
    first, *others = digits_fp32.ops
    ops = [first, Op("SIN", ("conv",), ("bent",))]
    graph = digits_fp32.replaced(tensors=[bent], ops=[*ops, *(op.with_inputs({"conv": "bent"}) for op in others)])
    path, out = tmp_path / "sin.tflite", tmp_path / "out.tflite"
    path.write_bytes(write_tflite(graph))
    arguments = [str(path), "-o", str(out), "--effort", "fast"]
    done = CliRunner().invoke(app, ["quantize", *arguments])
    assert isinstance(done.exception, UnsupportedError)
    assert "SIN (bent); keep them float with --allow-float SIN" in str(done.exception)
    assert not out.exists()
    result = json.loads(
        CliRunner()
        .invoke(app, ["quantize", *arguments, "--allow-float", "SIN", "--json"], catch_exceptions=False)
        .stdout
    )
    assert "SIN" in result["float_ops"]


def test_an_input_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    x, y = Tensor("x", (1, 4), "float32"), Tensor("y", (1, 4), "float32")
    path = tmp_path / "row.tflite"
    path.write_bytes(write_tflite(Graph({"x": x, "y": y}, (Op("LOGISTIC", ("x",), ("y",)),), ("x",), ("y",))))
    done = CliRunner().invoke(app, ["quantize", str(path), "-o", str(tmp_path / "out.tflite")])
    assert isinstance(done.exception, InputError)
    assert "height x width" in str(done.exception)


def test_a_size_that_is_told_becomes_the_shape_of_the_file(tmp_path: Path, digits_fp32: Graph) -> None:
    opened = [
        replace(digits_fp32.tensors[name], shape=(1, 1, 1, depth), open_shape=(-1, -1, -1, depth))
        for name, depth in (("image", 3), ("conv", 8))
    ]
    path, out = tmp_path / "open.tflite", tmp_path / "m.int8.tflite"
    path.write_bytes(write_tflite(digits_fp32.replaced(tensors=opened)))
    arguments = [str(path), "-o", str(out), "--effort", "fast", "--pixels=-1..1", "--size", "12x20"]
    CliRunner().invoke(app, ["quantize", *arguments], catch_exceptions=False)
    image = read_tflite(out).tensors["image"]
    assert (image.shape, image.open_shape) == ((1, 12, 20, 3), (-1, 12, 20, 3))


def test_what_prepares_arrays_goes_into_the_first_layer(tmp_path: Path, digits_fp32: Graph) -> None:
    scaled = [constant("factor", np.array(1 / 255, np.float32)), replace(digits_fp32.tensors["image"], name="scaled")]
    first = Op("MUL", ("image", "factor"), ("scaled",), {"activation": "NONE"})
    graph = digits_fp32.replaced(
        tensors=scaled, ops=[first, *(op.with_inputs({"image": "scaled"}) for op in digits_fp32.ops)]
    )
    path, data, out = tmp_path / "m.tflite", tmp_path / "data.npy", tmp_path / "m.int8.tflite"
    path.write_bytes(write_tflite(graph))
    values = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    values[0, 0, 0] = 0, 255, 0
    np.save(data, values)
    arguments = [str(path), "-o", str(out), "--effort", "fast", "--ranges", "min-max", "--data", str(data)]
    CliRunner().invoke(app, ["quantize", *arguments], catch_exceptions=False)
    made = read_tflite(out)
    assert made.ops[0].kind == "CONV_2D"
    quantization = made.tensors["image"].quantization
    assert quantization is not None
    assert (float(quantization.scale[0]), int(quantization.zero_point[0])) == (1.0, -128)


def test_arrays_calibrate_as_they_are(source: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data.npz", tmp_path / "m.int8.tflite"
    values = np.random.default_rng(0).uniform(-2, 3, (40, 16, 16, 3)).astype(np.float32)
    np.savez(data, image=values, y=np.arange(40) % 10)
    arguments = [str(source), "-o", str(out), "--effort", "fast", "--data", str(data), "--json"]
    result = json.loads(CliRunner().invoke(app, ["quantize", *arguments], catch_exceptions=False).stdout)
    assert result["settings"]["images"] == 40
    quantization = read_tflite(out).tensors["image"].quantization
    assert quantization is not None
    assert quantization.scale[0] == pytest.approx(5 / 255, rel=0.01)
    for option in ("--calibration", "--positive"):
        refused = CliRunner().invoke(app, ["quantize", *arguments, "--force", option, "demo"])
        assert isinstance(refused.exception, InputError)
        assert f"{option} is of pictures" in str(refused.exception)
    arguments = [str(source), str(out), "--data", str(data)]
    shown = CliRunner().invoke(app, ["validate", *arguments], catch_exceptions=False).stdout
    assert "40" in shown
    assert "SNR, dB" in shown


def test_a_model_that_ends_the_runtime_is_named(
    source: Path, tmp_path: Path, digits_fp32: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A custom op under the name of LiteRT's own, without the tensors that it reads, in all that is calibrated."""
    boxes = Tensor("boxes", (1, 4), "float32")
    last = Op("TFLite_Detection_PostProcess", (digits_fp32.outputs[0],), ("boxes",), {"custom_options": b""})
    killer = write_tflite(digits_fp32.replaced(tensors=[boxes], ops=(*digits_fp32.ops, last)))
    monkeypatch.setattr("mnedge.quantization.interpret.write_tflite", lambda _: killer)
    np.savez(tmp_path / "data.npz", image=np.zeros((2, 16, 16, 3), np.float32))
    arguments = [str(source), "-o", str(tmp_path / "out.tflite"), "--data", str(tmp_path / "data.npz")]
    done = CliRunner().invoke(app, ["quantize", *arguments])
    assert isinstance(done.exception, InputError)
    assert f"what was made of {source} at op " in str(done.exception)
    assert not (tmp_path / "out.tflite").exists()


def test_epochs_without_training_are_refused(tmp_path: Path, digits_fp32: Graph) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write_tflite(digits_fp32))
    with pytest.raises(InputError, match="give --method qat, or leave --epochs out"):
        quantize(path, tmp_path / "out.tflite", epochs=3)
