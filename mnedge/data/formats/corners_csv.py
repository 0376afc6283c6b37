"""Boxes from a CSV of corners in pixels, one row a box.

Columns are filename, class, x1, y1, x2, y2, or as Roboflow and TensorFlow's tutorials write them: filename, width,
height, class, xmin, ymin, xmax, ymax. An images.csv beside it (filename, and optionally split, width, height) may list
pictures without boxes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.annotation import Annotated, Annotations, Marked
from mnedge.data.formats._format import Format
from mnedge.data.formats._table import Table, header_of, read_table
from mnedge.data.names import with_class_list
from mnedge.data.splits import split_name, split_of
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.data.listing import Listing

# Each name that a column may have, the first as messages call it.
_COLUMNS = {
    "filename": ("filename", "file_name", "image", "image_id", "path"),
    "class": ("class", "label", "class_name", "category"),
    "x1": ("x1", "xmin", "x_min"),
    "y1": ("y1", "ymin", "y_min"),
    "x2": ("x2", "xmax", "x_max"),
    "y2": ("y2", "ymax", "y_max"),
}
_PICTURES = "images.csv"
_FOLDERS = ("", "images", "JPEGImages", "Images")
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


def _tables(listing: Listing) -> list[Path]:
    corners = {name for column in ("x1", "y1", "x2", "y2") for name in _COLUMNS[column]}
    found = [path for path in listing.with_suffix(".csv", ".tsv") if corners & set(header_of(path))]
    # A labels.csv is said to be one, whatever its columns are called.
    own = [path for path in found if path.name == "labels.csv" and path.parent == listing.root]
    return own or found


def _recognise(listing: Listing) -> str:
    return next((listing.relative(path) for path in _tables(listing)), "")


def _read(listing: Listing) -> Annotations:
    """Reads the CSV files, one or one a split, and images.csv where there is one.

    Pictures are looked for beside the CSV, then in images/ and JPEGImages/ beside it, then anywhere by their name.

    Raises:
        InputError: A column is missing, a number is none, or two files disagree on a split.
    """
    tables = _tables(listing)
    pictures: list[Annotated] = []
    for path in tables:
        pictures += _pictures(path, listing, split_of(listing.parts(path)) if len(tables) > 1 else "")
    return with_class_list(Annotations(listing.root, pictures))


def _pictures(path: Path, listing: Listing, split_of_file: str) -> list[Annotated]:
    splits: dict[str, tuple[str, str]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    listed = path.parent / _PICTURES
    if listed.is_file():
        table = read_table(listed)
        table.require("filename")
        for line, row in table.rows:
            name = _filename(table, line, row, "filename")
            if name in splits:
                raise InputError(f"{listed} line {line}: {name} is listed twice; leave one row")
            splits[name] = split_name(listed, line, row.get("split") or ""), f"{_PICTURES} line {line}"
            sizes[name] = _size(table, line, row)
    table = read_table(path)
    columns = _columns(table)
    objects: dict[str, list[Marked]] = {name: [] for name in splits}
    for line, row in table.rows:
        name = _filename(table, line, row, columns["filename"])
        split = split_name(path, line, row.get("split") or "") or split_of_file
        known, where = splits.setdefault(name, (split, f"{path.name} line {line}"))
        if split and split != known:
            raise InputError(
                f"{path} line {line}: {name} is in split {split!r}, but {where} has it in {known or 'none'!r}; "
                "a picture is in one split"
            )
        sizes.setdefault(name, _size(table, line, row))
        own = objects.setdefault(name, [])
        if row[columns["class"]]:
            own.append(_marked(table, line, row, columns))
    places = [path.parent / inner for inner in _FOLDERS]
    return [
        Annotated(listing.picture(name, places), split, tuple(objects[name]), where, sizes.get(name))
        for name, (split, where) in splits.items()
    ]


def _columns(table: Table) -> dict[str, str]:
    """The table's own name of each column."""
    lower = {name.lower(): name for name in table.columns}
    found = {}
    for column, called in _COLUMNS.items():
        own = next((lower[name] for name in called if name in lower), None)
        if own is None:
            raise InputError(
                f"{table.path} line 1: no column {column!r}; it has {', '.join(table.columns) or 'none'}, needed are "
                f"{', '.join(_COLUMNS)}"
            )
        found[column] = own
    return found


def _filename(table: Table, line: int, row: Mapping[str, str], column: str) -> str:
    if not row[column]:
        raise InputError(f"{table.path} line {line}: no filename; fill it in or take the row out")
    return row[column]


def _marked(table: Table, line: int, row: Mapping[str, str], columns: Mapping[str, str]) -> Marked:
    x1, y1, x2, y2 = (table.number(line, row, columns[name]) for name in ("x1", "y1", "x2", "y2"))
    crowd = (row.get("crowd") or "").lower()
    if crowd not in (*_TRUE, *_FALSE):
        raise InputError(f"{table.path} line {line}: crowd is {crowd!r}; it is 0 or 1")
    where = f"{table.path.name} line {line}"
    return Marked(row[columns["class"]], (x1, y1, x2, y2), where, is_crowd=crowd in _TRUE)


def _size(table: Table, line: int, row: Mapping[str, str]) -> tuple[int, int] | None:
    if not (row.get("width") and row.get("height")):
        return None
    width, height = (table.number(line, row, side) for side in ("width", "height"))
    return int(width), int(height)


FORMAT = Format(
    title="CSV of corners",
    layout="a labels.csv with filename, class, x1, y1, x2, y2 (or xmin, ymin, xmax, ymax) in pixels, a row a box",
    recognise=_recognise,
    boxes=_read,
)
