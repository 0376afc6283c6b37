"""Output of the commands: tables for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import TYPE_CHECKING

import typer

from mnedge.progress import Lines, Logged
from mnedge.text import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.progress import ProgressColumn, TaskID


def print_json(value: object) -> None:
    """Prints a result, a noun or JSON values, as JSON on standard output."""
    # The one control character that JSON lets stand.
    typer.echo(json.dumps(value, indent=2, default=_json).replace("\x7f", "\\u007f"))


def say(words: str, *, err: bool = False) -> None:
    """Prints one line on standard output or error, also where a name in it has line breaks."""
    typer.echo(line(words), err=err)


def _json(value: object) -> object:
    from mnedge.results.stored import as_json

    return as_json(value) if is_dataclass(value) else str(value)


def console(*, stderr: bool = False) -> Console:
    """A rich console; without a terminal it neither colours nor wraps."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # Drawing characters of rich are let through; its text is escaped by the caller that prints it.
    return Console(file=getattr(stream, "terminal", stream), width=None if stream.isatty() else 160, highlight=False)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; columns whose name starts with ">" are set to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        name, side = Text(line(column.lstrip(">"))), "right" if column.startswith(">") else "left"
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type] # one of rich's words
    for row in rows:
        # Not strings, in which rich reads [brackets] as markup.
        table.add_row(*(Text("–" if cell is None else line(str(cell))) for cell in row))
    # A table's own title would be broken at the table's width, in the middle of a path.
    console().print(Text(line(title), style="bold"), soft_wrap=True)
    console().print(table)


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """Shows stages on standard error: bars with time left in a terminal, one line a stage elsewhere and with -v.

    Yields:
        A function of the stage's name and the share that is done, 0..1.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or _is_chatty():
        yield Logged(Lines())
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description:<34}", markup=False),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=False) as bars:
        tasks: dict[str, TaskID] = {}

        def told(stage: str, fraction: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(line(stage), total=1.0)
            bars.update(tasks[stage], completed=fraction)

        yield Logged(told)


def _is_chatty() -> bool:
    """Tells whether -v was given: bars would be torn by the lines that it prints."""
    return logging.getLogger().isEnabledFor(logging.INFO)
