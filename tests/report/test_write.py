from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mnedge.report.write import CHECKSUMS, write_reports
from mnedge.results.details import Details
from mnedge.results.manifest import BuildManifest, Checksums, DatasetRow, FileRow
from mnedge.results.report import read_report
from mnedge.results.stored import read

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.results.report import Report


@pytest.fixture
def manifest(report: Report) -> BuildManifest:
    return BuildManifest(
        slug=report.slug,
        recipe={"variant": "v3-small", "gates": {}},
        tools={"mnedge": "0.1.0"},
        weights_sha256=None,
        dataset=DatasetRow("demo", {"crop_fraction": 0.875, "interpolation": "bilinear"}),
        calibration_sha256=None,
        artifacts=report.artifacts,
    )


def test_three_accounts_are_written_and_read_again(report: Report, manifest: BuildManifest, tmp_path: Path) -> None:
    write_reports(tmp_path, report, Details(), manifest)
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", "report.json", "report.html", CHECKSUMS}
    rows = read(tmp_path / CHECKSUMS, Checksums).files
    assert rows == tuple(FileRow.of(tmp_path / name) for name in ("manifest.json", "report.json", "report.html"))
    assert read_report(tmp_path) == report
    assert read(tmp_path / "manifest.json", BuildManifest) == manifest
    assert report.slug in (tmp_path / "report.html").read_text()
    row = json.loads((tmp_path / "report.json").read_text())["accuracy"][0]
    # The figures stand in the row, as they always did.
    assert {"artifact", "runtime", "device", "dataset", "images", "top1", "top5", "top1_interval"} <= set(row)
