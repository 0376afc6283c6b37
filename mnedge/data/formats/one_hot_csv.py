"""Classes from a CSV with a column a class and one 1 a row, as Roboflow's _classes.csv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Labelled
from mnedge.data.formats._table import header_of, read_lines, read_table
from mnedge.data.formats.index_csv import refuse_missing
from mnedge.data.names import checked_name
from mnedge.data.splits import split_of
from mnedge.errors import InputError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.listed import Row
    from mnedge.data.listing import Listing

_NAMES = ("filename", "image", "image_id", "path", "file_name")
_ONE, _NONE = ("1", "1.0"), ("0", "0.0")


def _tables(listing: Listing) -> list[Path]:
    return [path for path in listing.with_suffix(".csv", ".tsv") if _looks_right(path)]


def _looks_right(path: Path) -> bool:
    header = header_of(path)
    if len(header) < 3 or header[0].lower() not in _NAMES:
        return False
    try:
        rows = read_lines(path)
        next(rows)
        first = next(rows)[1]
    except (StopIteration, InputError):
        return False
    return len(first) == len(header) and all(cell.strip() in (*_ONE, *_NONE) for cell in first[1:])


def _recognise(listing: Listing) -> str:
    return next((listing.relative(path) for path in _tables(listing)), "")


def _read(listing: Listing) -> Labelled:
    """Reads the tables, one or one a split; pictures lie beside them.

    Raises:
        InputError: A row has no class or several, a picture is not there, or the tables have other columns.
    """
    tables = _tables(listing)
    classes = header_of(tables[0])[1:]
    for name in classes:
        checked_name(name, f"{tables[0]} line 1")
    rows: list[Row] = []
    for path in tables:
        table = read_table(path)
        if table.columns[1:] != classes:
            raise InputError(f"{path} and {tables[0]} have other classes in their first lines; export them together")
        split = split_of(listing.parts(path))
        missing = []
        for line, row in table.rows:
            told = [row[name].strip() for name in classes]
            if strange := [cell for cell in told if cell not in (*_ONE, *_NONE)]:
                raise InputError(f"{path} line {line}: {strange[0][:40]!r} is neither 0 nor 1")
            places = [index for index, cell in enumerate(told) if cell in _ONE]
            name = row[table.columns[0]]
            if len(places) != 1:
                shown = ", ".join(classes[place] for place in places) or "none"
                raise InputError(
                    f"{path} line {line}: {name} has {len(places)} classes ({shown}); classify takes one class a "
                    "picture: leave one 1 in each row, or take the row out"
                )
            file = listing.picture(name, [path.parent, path.parent / "images"])
            if not is_file(file):
                missing.append(f"line {line}: {name}")
            rows.append((file, places[0], split))
        refuse_missing(path, missing, len(table.rows))
    if not rows:
        raise InputError(f"{tables[0]} lists no pictures; add rows below its header")
    return Labelled(listing.root, rows, classes, is_fixed=True)


FORMAT = Format(
    title="one-hot CSV",
    layout="a _classes.csv with filename and a column a class, 0 or 1",
    recognise=_recognise,
    classes=_read,
)
