"""`mnedge compile` as a user meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from mnedge.cli import app
from mnedge.errors import BudgetError, InputError, UnsupportedError
from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph


@pytest.fixture
def model(tmp_path: Path, small_int8: Graph) -> Path:
    path = tmp_path / "small.int8.tflite"
    path.write_bytes(write_tflite(small_int8))
    return path


def test_json_stands_alone_and_is_the_manifest(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["compile", str(model), "--target", "generic", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((out / "manifest.json").read_text())
    assert (out / "small_int8.c").is_file()


def test_people_see_the_figures_and_the_plan(tmp_path: Path, model: Path) -> None:
    arguments = ["compile", str(model), "--target", "generic", "--out", str(tmp_path / "out"), "--name", "eye"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "eye for generic" in result.stdout
    assert "CONV_2D" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--target", "generic", "--budget", "1"], BudgetError, "the budget is 1"),
        (["--target", "generic", "--budget", "1Q"], InputError, "--budget 1Q: '1Q' is no amount"),
        (["--target", "generic", "--budget", "0"], InputError, "--budget is 0"),
        (["--target", "generic", "--name", "1a"], InputError, "C names"),
        (["--target", "cpu"], UnsupportedError, "takes no C"),
        (["--target", "generic", "--stream-input", "--input-may-be-overwritten"], InputError, "exclude each other"),
    ],
)
def test_errors_leave_no_folder(
    tmp_path: Path, model: Path, arguments: list[str], error: type[Exception], message: str
) -> None:
    result = CliRunner().invoke(app, ["compile", str(model), "-o", str(tmp_path / "out"), *arguments])
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()
