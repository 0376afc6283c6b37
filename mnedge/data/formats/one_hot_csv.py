"""Classes or labels from a CSV with a column a class and 0 or 1 in it, as Roboflow's _classes.csv."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Labelled, Tagged
from mnedge.data.formats._table import header_of, read_lines, read_table
from mnedge.data.formats.index_csv import refuse_missing
from mnedge.data.names import checked_name
from mnedge.data.splits import split_of
from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

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
    """Reads pictures with one class each.

    Raises:
        InputError: A row has no class or several, or cannot be read.
    """
    found, wheres = _read_rows(listing)
    for (picture, indices, _), where in zip(found.rows, wheres, strict=True):
        if len(indices) != 1:
            shown = ", ".join(found.classes[index] for index in indices) or "none"
            raise InputError(
                f"{where}: {picture.name} has {len(indices)} classes ({shown}), and classify takes one class a "
                "picture: give --task tag for several or none, or leave one 1 in each row"
            )
    rows = [(picture, indices[0], split) for picture, indices, split in found.rows]
    return Labelled(found.root, rows, found.classes, is_fixed=True)


def _read_labels(listing: Listing) -> Tagged:
    """Reads pictures with any number of labels each.

    Raises:
        InputError: A row cannot be read.
    """
    found, _ = _read_rows(listing)
    none = tuple(picture.name for picture, indices, _ in found.rows if not indices)
    notes = (Finding("pictures have no label; they count as a no to each", none),) if none else ()
    return replace(found, notes=notes)


def _read_rows(listing: Listing) -> tuple[Tagged, list[str]]:
    """Reads the tables, one or one a split; pictures lie beside them. Gives also the file and line of each row.

    Raises:
        InputError: A cell is no 0 or 1, a picture is not there or named twice, or the tables have other columns.
    """
    tables = _tables(listing)
    classes = header_of(tables[0])[1:]
    for name in classes:
        checked_name(name, f"{tables[0]} line 1")
    rows: list[tuple[Path, tuple[int, ...], str]] = []
    wheres: list[str] = []
    first: dict[Path, str] = {}
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
            name, where = row[table.columns[0]], f"{path} line {line}"
            file = listing.picture(name, [path.parent, path.parent / "images"])
            if not is_file(file):
                missing.append(f"line {line}: {name}")
            if (earlier := first.setdefault(file, where)) != where:
                raise InputError(f"{where}: {name} stands in {earlier} already; a picture has one row: take one out")
            rows.append((file, tuple(index for index, cell in enumerate(told) if cell in _ONE), split))
            wheres.append(where)
        refuse_missing(path, missing, len(table.rows))
    if not rows:
        raise InputError(f"{tables[0]} lists no pictures; add rows below its header")
    return Tagged(listing.root, rows, classes), wheres


FORMAT = Format(
    title="one-hot CSV",
    layout="a _classes.csv with filename and a column a class, 0 or 1",
    recognise=_recognise,
    classes=_read,
    labels=_read_labels,
)
