"""report.json as Markdown, for the summary page of a CI job or a comment on a pull request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnedge.report.cards import verdict
from mnedge.report.tables import tables
from mnedge.text import line

if TYPE_CHECKING:
    from mnedge.report.tables import Table
    from mnedge.results.report import Report

_SIGNS = {"good": "✅ ", "bad": "❌ "}


def render_markdown(report: Report) -> str:
    """Renders the verdict and all tables of a report in GitHub's Markdown; text from outside is escaped."""
    outcome = verdict(report)
    parts = [f"## {escaped(report.slug)}", _SIGNS.get(outcome.tone, "") + escaped(outcome.text)]
    parts += [markdown_table(table) for table in tables(report)]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """Renders a table in GitHub's Markdown, with its title where it has one, and its notes."""
    rules = ["--:" if column.startswith(">") else "---" for column in table.columns]
    lines = [
        *([f"### {escaped(table.title)}", ""] if table.title else []),
        _row([escaped(column.lstrip(">")) for column in table.columns]),
        _row(rules),
        *(_row([_SIGNS.get(cell.tone, "") + escaped(cell.text) for cell in row]) for row in table.rows),
    ]
    lines += [line for note in table.notes for line in ("", escaped(note))]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Gives text in which no character starts Markdown or HTML, on one line."""
    # A line break of a note is a space.
    text = " ".join(text.splitlines())
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", " ".join(line(text).split()))
