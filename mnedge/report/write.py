"""Writes manifest.json, report.json and report.html beside the artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.artifact import write_text
from mnedge.results.stored import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.results.details import Details
    from mnedge.results.manifest import BuildManifest
    from mnedge.results.report import Report


def write_reports(folder: Path, report: Report, details: Details, manifest: BuildManifest) -> None:
    """Writes the three accounts of a build.

    Args:
        folder: Where the artifacts are.
        report: It becomes report.json.
        details: What report.html shows beside it.
        manifest: It becomes manifest.json.

    Raises:
        InputError: The folder cannot be written.
    """
    from mnedge.report.html import render_html

    write_text(folder / "manifest.json", to_json(manifest))
    write_text(folder / "report.json", to_json(report))
    write_text(folder / "report.html", render_html(report, details))
