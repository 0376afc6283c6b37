"""`mnedge build`: flags become a recipe, gates become exit codes, JSON stands alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mnedge.cli import _run

if TYPE_CHECKING:
    from pathlib import Path

TINY = ["build", "--variant", "v1", "--alpha", "0.25", "--resolution", "32", "--classes", "4", "--weights", "random"]


@pytest.mark.usefixtures("private_cache")
def test_flags_win_over_the_recipe_and_a_broken_gate_exits_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("variant: v3-small\nint8: true\nseed: 5\ngates:\n  max_size_kib: 1\n")
    out = tmp_path / "out"
    recipe = ["--recipe", str(tmp_path / "mine.yaml"), "--effort", "fast"]
    files = ["--junit", str(tmp_path / "gates.xml"), "--markdown", str(tmp_path / "summary.md")]
    assert _run([*TINY, *recipe, *files, "--out", str(out), "--json"]) == 1
    printed = capsys.readouterr()
    assert "max_size_kib" in printed.err
    report = json.loads(printed.out)
    assert report == json.loads((out / "report.json").read_text())
    assert report["slug"] == "mobilenet_v1_0.25_32"
    assert {row["precision"] for row in report["artifacts"]} == {"fp32", "int8"}
    assert [row["passed"] for row in report["gates"]] == [False]
    resolved = json.loads((out / "manifest.json").read_text())["recipe"]
    assert (resolved["variant"], resolved["alpha"], resolved["seed"], resolved["classes"]) == ("v1", 0.25, 5, 4)
    assert 'failures="1"' in (tmp_path / "gates.xml").read_text()
    assert r"max\_size\_kib is" in (tmp_path / "summary.md").read_text()


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert _run([*TINY, "--out", str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err
