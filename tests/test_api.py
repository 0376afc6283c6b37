"""`import mnedge`: the verbs and the values that they take and give, the same as on the command line."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mnedge
from mnedge.cli import _run
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_write import write_tflite
from mnedge.results.stored import as_json

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

_SOURCE = Path(mnedge.__file__)


@pytest.fixture
def models(tmp_path: Path, digits_fp32: Graph) -> list[Path]:
    files = {"m.tflite": write_tflite(digits_fp32), "m.onnx": write_onnx(digits_fp32)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    return [tmp_path / name for name in files]


def _shape(value: Any) -> Any:
    """JSON without its figures: keys, lengths and types."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return type(value).__name__ if isinstance(value, float) else value


def _without_runs(result: Any) -> Any:
    """What two measurements of latency have in common."""
    shape = _shape(result)
    del shape["conditions"]["load"], shape["conditions"]["busy"]
    for row in shape["latency"]:
        del row["runs"], row["warmed_up"]
    for row in shape["ratios"]:
        del row["verdict"]
    return shape


def test_validate_says_what_the_command_says(models: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    result = mnedge.validate(models, "demo", images=60)
    assert _run(["validate", *map(str, models), "--images", "60", "--json"]) == 0
    assert as_json(result) == json.loads(capsys.readouterr().out)
    assert "m.onnx" in result._repr_html_()
    top1 = result.accuracy[0].metric("top1")
    assert top1 is not None
    assert f"{top1:.4g}" in result._repr_html_()


def test_bench_gives_what_the_command_gives(models: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    result = mnedge.bench(models, seconds=0.05, ops=True)
    assert _run(["bench", *map(str, models), "--seconds", "0.05", "--ops", "--json"]) == 0
    assert _without_runs(as_json(result)) == _without_runs(json.loads(capsys.readouterr().out))
    assert result.ratios[0].verdict in result._repr_html_()


def test_inspect_says_what_the_command_says(models: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    for model in models:
        assert _run(["inspect", str(model), "--json"]) == 0
        found = mnedge.inspect(model)
        assert as_json(found) == json.loads(capsys.readouterr().out)
        assert found.contents.ops[0].kind in found._repr_html_()


def test_what_type_checkers_see_is_what_there_is() -> None:
    block = next(node for node in ast.parse(_SOURCE.read_text()).body if isinstance(node, ast.If))
    typed = {
        alias.name: statement.module.removeprefix("mnedge.")
        for statement in block.body
        if isinstance(statement, ast.ImportFrom) and statement.module
        for alias in statement.names
    }
    assert typed == mnedge._PLACES
    assert sorted(mnedge.__all__) == sorted([*typed, "__version__"]) == sorted(dir(mnedge))


@pytest.mark.parametrize("name", [name for name in mnedge.__all__ if name != "__version__"])
def test_every_name_is_there_typed_and_documented(name: str) -> None:
    value = getattr(mnedge, name)
    assert value.__doc__
    if inspect.isfunction(value):
        parameters = inspect.signature(value).parameters.values()
        assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)
        assert inspect.signature(value).return_annotation is not inspect.Signature.empty
    else:
        assert is_dataclass(value) or issubclass(value, mnedge.MnedgeError)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        _ = mnedge.biuld  # type: ignore[attr-defined] # that is what is tested


def test_importing_is_light() -> None:
    code = "import sys, mnedge; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "tensorflow", "keras", "onnx", "onnxruntime", "yaml", "msgspec", "typer"}
    assert {name for name in loaded if name.startswith("mnedge")} == {"mnedge"}
