"""CSV files of others: separated by commas, semicolons or tabs, with spaces after them or not."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.data.annotation import is_length
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mnedge.data.listing import Listing

_SEPARATORS = ",;\t"
# Letters of a wrong cell that a message shows.
_SHOWN = 40


@dataclass(frozen=True)
class Table:
    """A CSV file.

    Attributes:
        path: The file.
        columns: Names in its header.
        rows: Line number and cells by column; a cell that a short row lacks is "".
        separator: Separator of the cells.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]
    separator: str

    def require(self, *columns: str) -> None:
        """Makes sure that there are such columns.

        Raises:
            InputError: One is missing.
        """
        for column in columns:
            if column not in self.columns:
                raise InputError(
                    f"{self.path} line 1: no column {column!r}; it has {', '.join(self.columns) or 'none'}, needed are "
                    f"{', '.join(columns)}"
                )

    def number(self, line: int, row: Mapping[str, str], column: str) -> float:
        """The number of a cell, in pixels or fractions.

        Raises:
            InputError: It is none, or too large for a place in a picture.
        """
        text = row.get(column) or ""
        try:
            # Where semicolons stand between cells, a comma may stand in a number.
            value = float(text.replace(",", ".") if self.separator == ";" else text)
        except ValueError:
            value = math.nan
        if not is_length(value):
            raise InputError(f"{self.path} line {line}: {column} is {text[:_SHOWN]!r}; it is a number of pixels")
        return value


def header_of(path: Path) -> tuple[str, ...]:
    """Names in the first line of a CSV file; () where it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline(1 << 16)
            reader = csv.reader([first], delimiter=_separator(first), skipinitialspace=True)
            return tuple(cell.strip() for cell in next(reader, []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def tables_with(listing: Listing, *columns: str) -> list[Path]:
    """The CSV files whose header has all of some columns."""
    return [path for path in listing.with_suffix(".csv", ".tsv") if {*columns} <= set(header_of(path))]


def read_table(path: Path) -> Table:
    """Reads a CSV file with a header.

    Raises:
        InputError: It cannot be read, or two of its columns have one name.
    """
    lines = read_lines(path)
    try:
        header = next(lines, (1, ()))[1]
        columns = tuple(cell.strip() for cell in header)
        twice = sorted({name for name in columns if name and columns.count(name) > 1})
        if twice:
            raise InputError(f"{path} line 1: two columns are called {twice[0]!r}; give each a name of its own")
        rows = [(line, dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))) for line, cells in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{path} cannot be read as CSV: {exc}") from exc
    return Table(path, columns, tuple(rows), _separator_of(path))


def read_lines(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The rows of a CSV file with or without header, with their line numbers; empty lines are left out.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline(1 << 16)
            stream.seek(0)
            reader = csv.reader(stream, delimiter=_separator(first), skipinitialspace=True)
            for row in reader:
                if any(row):
                    yield reader.line_num, tuple(row)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{path} cannot be read as CSV: {exc}") from exc


def _separator_of(path: Path) -> str:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return _separator(stream.readline(1 << 16))


def _separator(first: str) -> str:
    return max(_SEPARATORS, key=first.count)
