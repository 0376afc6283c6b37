"""`mnedge lock` as a user meets it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from mnedge.choices import CONSTRAINTS
from mnedge.cli import app
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_constraints_pin_every_package_and_are_said(tmp_path: Path) -> None:
    out = tmp_path / "pins.txt"
    result = CliRunner().invoke(app, ["lock", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    pins = json.loads(result.stdout)
    lines = [line for line in out.read_text().splitlines() if not line.startswith("#")]
    assert lines == [f"{name}=={version}" for name, version in pins.items()]
    assert "numpy" in pins


def test_a_file_of_the_users_stays(tmp_path: Path) -> None:
    (tmp_path / CONSTRAINTS).write_text("mine")
    result = CliRunner().invoke(app, ["lock", "--out", str(tmp_path / CONSTRAINTS)])
    assert isinstance(result.exception, InputError)
    assert (tmp_path / CONSTRAINTS).read_text() == "mine"
