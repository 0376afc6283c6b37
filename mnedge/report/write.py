"""Writes manifest.json, report.json and report.html beside the artifacts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnedge.artifact import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_reports(folder: Path, report: Mapping[str, Any], details: Mapping[str, Any]) -> None:
    """Writes the three accounts of a build.

    Args:
        folder: Where the artifacts are.
        report: As report.json, schema 1.
        details: What the page shows beside it; `manifest` among it becomes manifest.json.

    Raises:
        InputError: The folder cannot be written.
    """
    from mnedge.report.html import render_html

    write_text(folder / "manifest.json", json.dumps(details["manifest"], indent=2, default=str) + "\n")
    write_text(folder / "report.json", json.dumps(report, indent=2, default=str) + "\n")
    write_text(folder / "report.html", render_html(dict(report), dict(details)))
