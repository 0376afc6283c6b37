"""`mnedge verify` as a user meets it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from mnedge.cli import app
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of one file, with its manifest."""
    (tmp_path / "a.txt").write_text("1")
    row = {"path": "a.txt", "bytes": 1, "sha256": hashlib.sha256(b"1").hexdigest()}
    gate = {"name": "min_top1", "limit": 0.9, "passed": False}
    manifest = {"bundle": "raspberry-pi", "slug": "net", "files": [row], "gates": [gate]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_people_see_what_was_checked_and_which_gates_the_build_broke(folder: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert result.exit_code == 0, result.output
    assert f"{folder}: raspberry-pi of net, 1 files as they were" in result.stdout.replace("\n", "")
    assert "the build broke min_top1" in result.stdout


def test_json_stands_alone(folder: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(folder), "--json"])
    (row,) = json.loads(result.stdout)
    assert (row["slug"], row["files"], row["broken_gates"], row["signed"]) == ("net", 1, ["min_top1"], False)


def test_a_changed_file_is_wrong_input(folder: Path) -> None:
    (folder / "a.txt").write_text("2")
    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert isinstance(result.exception, InputError)
    assert "a.txt was changed" in str(result.exception)
