"""report.json as tables in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mnedge.report import figures
from mnedge.report.tables import tables

if TYPE_CHECKING:
    from rich.console import Console

    from mnedge.report.tables import Table

_WIDTH_WITHOUT_TERMINAL = 160
_STYLES = {"good": "green", "bad": "bold red", "fp32": "dim"}


def print_report(report: dict[str, Any]) -> None:
    """Prints a report on standard output: artifacts, int8 and parity, memory, gates.

    Args:
        report: report.json, schema 1. Lists may be empty and keys absent; what was not measured is a dash.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=sys.stdout, width=width, highlight=False)
    console.print(_title(report), style="bold", markup=False)
    for table in tables(report):
        print_table(console, table)


def print_table(console: Console, table: Table) -> None:
    """Prints one table with its notes."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(table.title, style="bold")
    printed = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        name = Text(column.lstrip(">"))
        printed.add_column(name, justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in table.rows:
        printed.add_row(*(Text(cell.text, style=_STYLES.get(cell.tone, "")) for cell in row))
    console.print(printed)
    for note in table.notes:
        console.print(note, style="dim", markup=False)
    if table.notes:
        console.print()


def _title(report: dict[str, Any]) -> str:
    variant = report.get("variant") or {}
    counts = [
        f"{figures.magnitude(variant[name])} {word}"
        for name, word in (("parameters", "parameters"), ("macs", "multiply-adds"))
        if variant.get(name)
    ]
    return ", ".join([str(report.get("slug") or "report"), *counts])
