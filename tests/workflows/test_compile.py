"""The verb `compile`: its noun is manifest.json, for C, TFLM and Vela alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import mnedge
from mnedge.errors import BudgetError, InputError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.results.compilation import CSources, TflmProject, VelaModel
from mnedge.results.stored import read, to_json
from mnedge.workflows.compile import default_name

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph


@pytest.fixture
def model(tmp_path: Path, small_int8: Graph) -> Path:
    path = tmp_path / "small.int8.tflite"
    path.write_bytes(write_tflite(small_int8))
    return path


def test_the_result_is_manifest_json_and_is_read_back(tmp_path: Path, model: Path) -> None:
    result = mnedge.compile(model, tmp_path / "out", "generic", budget_bytes="64K", prefer="speed")
    written = tmp_path / "out" / "manifest.json"
    assert json.loads(to_json(result)) == json.loads(written.read_text(encoding="utf-8"))
    assert isinstance(result, CSources)
    assert read(written, CSources) == result
    assert (result.name, result.optimise) == ("small_int8", "speed")
    assert result.layers[0].op == "CONV_2D"
    assert max(block.offset + block.bytes for block in result.blocks) <= result.arena_bytes
    assert f"{result.arena_bytes:,}" in result._repr_html_()
    # The keys that report.json's readers and firmware scripts know.
    keys = {"name", "target", "arena_bytes", "flash_bytes", "stack_bytes", "instructions", "layers", "optimise"}
    assert keys <= json.loads(to_json(result)).keys()


def test_a_part_is_compiled_between_named_tensors(tmp_path: Path, model: Path) -> None:
    first, *_, last = read_tflite(model).ops
    result = mnedge.compile(model, tmp_path / "out", "generic", outputs=[first.outputs[0]])
    assert isinstance(result, CSources)
    assert [layer.op for layer in result.layers] == ["CONV_2D"]
    rest = mnedge.compile(model, tmp_path / "rest", "generic", feed=last.inputs[0])
    assert isinstance(rest, CSources)
    assert [layer.op for layer in rest.layers] == [last.kind]


def test_a_budget_is_a_number_of_bytes_or_text_with_its_unit(tmp_path: Path, model: Path) -> None:
    with pytest.raises(BudgetError, match="the budget is 1"):
        mnedge.compile(model, tmp_path / "out", "generic", budget_bytes=1)
    with pytest.raises(InputError, match="64 of what"):
        mnedge.compile(model, tmp_path / "out", "generic", budget_bytes="64")
    assert not (tmp_path / "out").exists()


def test_tflm_is_a_noun_too(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("tflite_micro", reason="pip install --pre 'mnedge[tflm]'")
    result = mnedge.compile(model, tmp_path / "out", "cortex-m4", form="tflm")
    assert isinstance(result, TflmProject)
    assert result.arena_bytes == result.arena_bytes_measured + result.margin_bytes
    assert json.loads(to_json(result)) == json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert json.loads(to_json(result))["format"] == "tflm"


def test_vela_is_a_noun_too(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("ethosu", reason="pip install 'mnedge[ethos-u]'")
    result = mnedge.compile(model, tmp_path / "out", "ethos-u55-128")
    assert isinstance(result, VelaModel)
    assert (tmp_path / "out" / result.file).stat().st_size == result.file_bytes
    assert json.loads(to_json(result)) == json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.tflite cannot be read"):
        mnedge.compile(tmp_path / "absent.tflite", tmp_path / "out", "generic")


def test_a_name_from_the_file(tmp_path: Path) -> None:
    assert default_name(tmp_path / "mobilenet_v1_0.25.int8.tflite") == "mobilenet_v1_0_25_int8"
    assert default_name(tmp_path / "3.tflite") == "model_3"
    assert default_name(tmp_path / "palm_detection.lite") == "palm_detection"
    assert default_name(tmp_path / f"{'a' * 62}_b.tflite") == "a" * 62


def test_an_int8_onnx_is_compiled_as_the_tflite_that_it_becomes(tmp_path: Path, model: Path, small_int8: Graph) -> None:
    theirs = tmp_path / "small.int8.onnx"
    theirs.write_bytes(write_onnx(small_int8))
    one, other = (mnedge.compile(path, tmp_path / path.suffix[1:], "generic") for path in (model, theirs))
    assert isinstance(one, CSources)
    assert isinstance(other, CSources)
    assert (one.name, one.arena_bytes) == (other.name, other.arena_bytes)
    assert [layer.op for layer in one.layers] == [layer.op for layer in other.layers]
