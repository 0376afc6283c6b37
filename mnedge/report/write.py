"""Writes manifest.json, report.json and report.html beside the artifacts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnedge.artifact import deliver

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REPORTS = ("manifest.json", "report.json", "report.html")


def write_reports(folder: Path, report: Mapping[str, Any], details: Mapping[str, Any], *, force: bool = False) -> None:
    """Writes the three accounts of a build.

    Args:
        folder: Where the artifacts are.
        report: As report.json, schema 1.
        details: What the page shows beside it; `manifest` among it becomes manifest.json.
        force: Replace accounts that are not mnedge's own, unchanged work.

    Raises:
        InputError: The folder cannot be written, or what is there is not mnedge's to replace.
    """
    from mnedge.report.html import render_html

    texts = (
        json.dumps(details["manifest"], indent=2, default=str) + "\n",
        json.dumps(report, indent=2, default=str) + "\n",
        render_html(dict(report), dict(details)),
    )
    for name, text in zip(REPORTS, texts, strict=True):
        deliver(folder / name, text, force=force)
