from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from mnedge import cache
from mnedge.cli import app

if TYPE_CHECKING:
    from pathlib import Path


def _mebibyte(folder: Path) -> None:
    (folder / "data").write_bytes(b"x" * (1 << 20))


@pytest.fixture
def filled(private_cache: Path) -> Path:
    """Two results of a mebibyte each; the one of "old" was used an hour earlier."""
    for name in ("old", "new"):
        cache.stage(name, {"key": name}, _mebibyte)
    (old,) = private_cache.glob("old-*")
    os.utime(old, (1e9, 1e9))
    return private_cache


def test_an_empty_cache_is_an_empty_list(private_cache: Path) -> None:
    result = json.loads(CliRunner().invoke(app, ["cache", "--json"], catch_exceptions=False).stdout)
    assert result == {"root": str(private_cache), "freed_bytes": None, "entries": []}


def test_entries_have_stage_size_and_place(filled: Path) -> None:
    result = json.loads(CliRunner().invoke(app, ["cache", "--json"], catch_exceptions=False).stdout)
    assert [row["stage"] for row in result["entries"]] == ["new", "old"]
    assert all(row["bytes"] > 1 << 20 for row in result["entries"])
    table = CliRunner().invoke(app, ["cache"], catch_exceptions=False).stdout
    assert f"{filled}: 2 entries, 2.0 MiB" in " ".join(table.split())


def test_pruning_keeps_what_was_used_last(filled: Path) -> None:
    done = CliRunner().invoke(app, ["cache", "--prune", "--keep-mib", "2"], catch_exceptions=False)
    assert "freed 1.0 MiB" in done.stdout
    assert [path.name.rpartition("-")[0] for path in filled.iterdir()] == ["new"]


def test_pruning_all_empties_it(filled: Path) -> None:
    result = json.loads(CliRunner().invoke(app, ["cache", "--prune", "--json"], catch_exceptions=False).stdout)
    assert result["freed_bytes"] > 2 << 20
    assert result["entries"] == []
    assert list(filled.iterdir()) == []


@pytest.mark.usefixtures("private_cache")
def test_a_negative_size_is_refused() -> None:
    assert CliRunner().invoke(app, ["cache", "--prune", "--keep-mib", "-1"]).exit_code == 2
