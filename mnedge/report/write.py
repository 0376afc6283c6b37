"""Writes manifest.json, report.json, report.html and checksums.json beside the artifacts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnedge.artifact import file_row, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
# What lists the manifest and the reports: these hold measured times, which manifest.json must not depend on.
CHECKSUMS = "checksums.json"
REPORTS = ("report.json", "report.html")


def write_reports(folder: Path, report: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Writes the three accounts of a build, and checksums.json with the checksum of each.

    manifest.json lists the artifacts and labels.txt and is the same for the same build; checksums.json lists
    manifest.json and the reports, whose measured times differ from run to run.

    Args:
        folder: Where the artifacts are.
        report: As report.json, schema 1.
        details: What the page shows beside it; `manifest` among it becomes manifest.json.
        force: Replace accounts that are not mnedge's own, unchanged work.

    Raises:
        InputError: The folder cannot be written, or what is there is not mnedge's to replace.
    """
    from mnedge.report.html import render_html

    write_text(folder / MANIFEST, json.dumps(details["manifest"], indent=2, default=str) + "\n")
    write_text(folder / "report.json", json.dumps(report, indent=2, default=str) + "\n")
    write_text(folder / "report.html", render_html(dict(report), dict(details)))
    rows = [file_row(folder / name) for name in (MANIFEST, *REPORTS)]
    write_text(folder / CHECKSUMS, json.dumps({"schema": 1, "files": rows}, indent=2) + "\n")
