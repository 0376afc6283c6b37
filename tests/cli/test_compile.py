"""`mnedge compile` as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from mnedge.cli import app
from mnedge.devices import _boards
from mnedge.errors import BudgetError, InputError, UnsupportedError
from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from collections.abc import Iterator
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


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with room for a small model, and for nothing that a compiler makes of it."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=28k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.toolchain
@pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}")
def test_a_full_temporary_folder_is_a_full_disk(tmp_path: Path, model: Path, tiny_disk: Path) -> None:
    out = tmp_path / "new" / "out"
    done = subprocess.run(
        [sys.executable, "-m", "mnedge", "compile", model, "--target", "cortex-m4", "-o", out],
        env={**os.environ, "TMPDIR": str(tiny_disk)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 74, done.stderr
    assert f"free some space where it writes and in {tiny_disk}, or set TMPDIR to a folder with room" in done.stderr
    assert "arm-none-eabi-gcc found no room" in done.stderr
    # Neither there nor where the folder was to be is anything left.
    assert list(tiny_disk.iterdir()) == []
    assert not out.parent.exists()
