from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.cli import _run
from mnedge.data import open_dataset
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.pixels import SYMMETRIC

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph


@pytest.fixture
def models(tmp_path: Path, digits_fp32: Graph) -> list[str]:
    files = {"m.tflite": write_tflite(digits_fp32), "m.onnx": write_onnx(digits_fp32)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return [str(tmp_path / name) for name in files]


def test_json_has_the_rows_of_the_report(
    models: list[str], digits_fp32: Graph, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["validate", *models, "--images", "60", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    dataset = open_dataset("demo")
    pixels, labels = dataset.pixels(dataset.split("eval", 60), 16)
    expected = float(np.mean(predict(digits_fp32, SYMMETRIC.real(pixels)).argmax(1) == labels))
    assert [row["artifact"] for row in result["accuracy"]] == ["m.tflite", "m.onnx"]
    for row in result["accuracy"]:
        assert row["images"] == 60
        assert row["top1"] == pytest.approx(expected)
        assert row["top1"] <= row["top5"]
    (parity,) = result["parity"]
    assert (parity["reference"], parity["artifact"], parity["top1_agreement"]) == ("m.tflite", "m.onnx", 1.0)
    assert parity["max_abs_error"] < 1e-5


def test_the_table_names_artifacts_runtimes_and_parity(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["validate", *models, "--images", "20"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "Accuracy on 20 pictures of the validation split of demo",
        "m.tflite",
        "m.onnx",
        "onnxruntime",
        "XNNPACK",
        "Parity",
    ):
        assert text in printed, text


def test_the_chosen_split_is_measured(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["validate", models[0], "--split", "calibration", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"][0]["images"] == 200


def test_a_model_of_too_few_classes_says_so(
    tmp_path: Path, small_int8: Graph, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "four.tflite"
    path.write_bytes(write_tflite(small_int8))
    assert _run(["validate", str(path), "--images", "20"]) == 2
    assert "has 4 outputs, but demo has class_index 9" in capsys.readouterr().err


def test_a_device_that_cannot_be_had_fails(models: list[str]) -> None:
    assert _run(["validate", models[0], "--images", "5", "--device", "ssh://nobody@127.0.0.1:1"]) == 4


def test_a_runtime_is_taken_by_name(models: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["validate", models[0], "--images", "8", "--runtime", "litert", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"][0]["runtime"].startswith("ai-edge-litert")
    assert _run(["validate", models[0], "--images", "8", "--runtime", "onnxruntime"]) == 2
    assert "refuses" in capsys.readouterr().err
    assert _run(["validate", models[0], "--runtime", "nope"]) == 2
    assert "Known: compiled-c, litert, onnxruntime, tflite-runtime" in capsys.readouterr().err


def test_models_of_different_classes_cannot_agree(
    models: list[str], tmp_path: Path, digits_fp32: Graph, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {name: digits_fp32.tensors[name] for name in ("head", "head_bias", "logits", "scores")}
    for name, tensor in more.items():
        shape = (12, 8) if name == "head" else (*tensor.shape[:-1], 12)
        data = None if tensor.data is None else np.resize(tensor.data, shape)
        more[name] = replace(tensor, shape=shape, data=data)
    path = tmp_path / "twelve.tflite"
    path.write_bytes(write_tflite(replace(digits_fp32, tensors={**digits_fp32.tensors, **more})))
    assert _run(["validate", models[0], str(path), "--images", "5"]) == 2
    said = capsys.readouterr().err
    assert "has 12 outputs, " in said
    assert "validate them one by one" in said
