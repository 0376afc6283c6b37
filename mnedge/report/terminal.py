"""report.json as tables in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.tables import tables
from mnedge.text import line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from mnedge.report.tables import Table
    from mnedge.results.report import Report

_WIDTH_WITHOUT_TERMINAL = 160
# Columns that a narrow terminal goes without first.
_DISPENSABLE = (">p90 ms", ">top-5 %", ">smaller", ">95 % interval", ">faster")
_STYLES = {"good": "green", "bad": "bold red", "fp32": "dim"}


def print_report(report: Report) -> None:
    """Prints a report on standard output: artifacts, int8 and parity, memory, gates; None is a dash."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=getattr(sys.stdout, "terminal", sys.stdout), width=width, highlight=False)
    console.print(line(_title(report)), style="bold", markup=False)
    for table in tables(report):
        print_table(console, table)


def print_table(console: Console, table: Table) -> None:
    """Prints one table with its notes; columns that a narrow terminal has no room for are left out and named."""
    left_out: list[str] = []
    # A measurement within the console's own width never exceeds it.
    unbounded = console.options.update(max_width=10_000)
    printed = _rich_table(table, left_out)
    for column in _DISPENSABLE:
        if console.measure(printed, options=unbounded).maximum <= console.width:
            break
        if column in table.columns:
            left_out.append(column)
            printed = _rich_table(table, left_out)
    console.print(printed)
    notes = list(table.notes)
    if left_out:
        names = ", ".join(column.lstrip(">") for column in left_out)
        notes.append(f"This terminal is too narrow for: {names}.")
    for note in notes:
        console.print(line(note), style="dim", markup=False)
    if notes:
        console.print()


def _rich_table(table: Table, left_out: list[str]) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(line(table.title), style="bold")
    made = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [place for place, column in enumerate(table.columns) if column not in left_out]
    for place in shown:
        column = table.columns[place]
        name = Text(line(column.lstrip(">")))
        made.add_column(name, justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in table.rows:
        made.add_row(*(Text(line(row[place].text), style=_STYLES.get(row[place].tone, "")) for place in shown))
    return made


def _title(report: Report) -> str:
    variant = report.variant
    counts = [
        f"{figures.magnitude(count)} {word}"
        for count, word in ((variant.parameters, "parameters"), (variant.macs, "multiply-adds"))
        if count
    ]
    return ", ".join([report.slug, *counts])
