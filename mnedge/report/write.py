"""Writes manifest.json, report.json, report.html and checksums.json beside the artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.files import write_text
from mnedge.results.manifest import Checksums, FileRow
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.results.details import Details
    from mnedge.results.manifest import BuildManifest
    from mnedge.results.report import Report


MANIFEST = "manifest.json"
# Lists the manifest and the reports: these hold measured times, which manifest.json must not depend on.
CHECKSUMS = "checksums.json"
REPORT = "report.json"
REPORTS = (REPORT, "report.html")


def write_reports(folder: Path, report: Report, details: Details, manifest: BuildManifest) -> None:
    """Writes the three accounts of a build, and checksums.json with the checksum of each.

    manifest.json lists the artifacts and labels.txt and is the same for the same build; checksums.json lists
    manifest.json and the reports, whose measured times differ from run to run.

    Args:
        folder: Folder of the artifacts: the scratch folder of a build.
        report: Report that becomes report.json.
        details: Details that report.html shows beside it.
        manifest: Manifest that becomes manifest.json.

    Raises:
        OSError: The folder cannot be written; who owns it says what that means.
    """
    from mnedge.report.html import render_html

    write_text(folder / MANIFEST, to_json(manifest))
    write_text(folder / REPORT, to_json(report))
    write_text(folder / "report.html", render_html(report, details))
    rows = tuple(FileRow.of(folder / name) for name in (MANIFEST, *REPORTS))
    write_text(folder / CHECKSUMS, to_json(Checksums(rows)))
