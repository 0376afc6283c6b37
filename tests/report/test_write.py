from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mnedge.artifact import sha256
from mnedge.errors import InputError
from mnedge.report.write import CHECKSUMS, write_reports

if TYPE_CHECKING:
    from pathlib import Path


def test_three_accounts_are_written(report: dict[str, Any], tmp_path: Path) -> None:
    write_reports(tmp_path, report, {"manifest": {"schema": 1}})
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", "report.json", "report.html", CHECKSUMS}
    rows = json.loads((tmp_path / CHECKSUMS).read_text())["files"]
    assert [row["path"] for row in rows] == ["manifest.json", "report.json", "report.html"]
    assert all(row["sha256"] == sha256(tmp_path / row["path"]) for row in rows)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(report))
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"schema": 1}
    assert report["slug"] in (tmp_path / "report.html").read_text()


def test_a_folder_that_cannot_be_written_is_named(report: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write_reports(tmp_path / "file", report, {"manifest": {}})
