"""Boxes from a CSV: filename, class, x1, y1, x2, y2 in pixels, one row a box, and optionally split and crowd.

An images.csv beside it (filename, and optionally split, width, height) may list pictures without boxes.
"""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

from mnedge.data._annotation import Annotated, Annotations, Marked, is_length
from mnedge.data.splits import split_name
from mnedge.errors import InputError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("filename", "class", "x1", "y1", "x2", "y2")
_PICTURES = "images.csv"
_FOLDERS = ("", "images", "JPEGImages")
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


def is_boxes_csv(path: Path) -> bool:
    """Whether a file's header names the corners of boxes."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            header = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return {"x1", "y1", "x2", "y2"} & set(header) != set()


def read_boxes_csv(path: Path) -> Annotations:
    """Reads labels.csv, and images.csv where there is one.

    Pictures are looked for beside the CSV, then in images/ and JPEGImages/ beside it.

    Raises:
        InputError: A column is missing, a number is none, or the two files disagree on a split.
    """
    splits: dict[str, tuple[str, str]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    listed = path.parent / _PICTURES
    if listed.is_file():
        for line, row in _rows(listed, ("filename",)):
            name = row["filename"]
            if name in splits:
                raise InputError(f"{listed} line {line}: {name} is listed twice; leave one row")
            splits[name] = split_name(listed, line, row.get("split") or ""), f"{_PICTURES} line {line}"
            sizes[name] = _size(listed, line, row)
    objects: dict[str, list[Marked]] = {name: [] for name in splits}
    for line, row in _rows(path, COLUMNS):
        name, split = row["filename"], split_name(path, line, row.get("split") or "")
        known, where = splits.setdefault(name, (split, f"{path.name} line {line}"))
        if split and split != known:
            raise InputError(
                f"{path} line {line}: {name} is in split {split!r}, but {where} has it in {known or 'none'!r}; "
                "a picture is in one split"
            )
        if row["class"]:
            objects.setdefault(name, []).append(_marked(path, line, row))
        else:
            objects.setdefault(name, [])
    pictures = [
        Annotated(_find(path.parent, name), split, tuple(objects[name]), where, sizes.get(name))
        for name, (split, where) in splits.items()
    ]
    return Annotations(path.parent, pictures)


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="")
            header = reader.fieldnames or []
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{path} cannot be read as CSV: {exc}") from exc
    for column in columns:
        if column not in header:
            raise InputError(
                f"{path} line 1: no column {column!r}; it has {', '.join(header) or 'none'}, needed are "
                f"{', '.join(columns)}"
            )
    for line, row in rows:
        if not row["filename"]:
            raise InputError(f"{path} line {line}: no filename; fill it in or take the row out")
    return rows


def _marked(path: Path, line: int, row: dict[str, str]) -> Marked:
    values = []
    for column in ("x1", "y1", "x2", "y2"):
        try:
            value = float(row[column])
        except ValueError:
            value = math.nan
        if not is_length(value):
            raise InputError(f"{path} line {line}: {column} is {row[column]!r}; it is a number of pixels")
        values.append(value)
    crowd = (row.get("crowd") or "").lower()
    if crowd not in (*_TRUE, *_FALSE):
        raise InputError(f"{path} line {line}: crowd is {crowd!r}; it is 0 or 1")
    x1, y1, x2, y2 = values
    return Marked(row["class"], (x1, y1, x2, y2), f"{path.name} line {line}", is_crowd=crowd in _TRUE)


def _size(path: Path, line: int, row: dict[str, str]) -> tuple[int, int] | None:
    if not (row.get("width") and row.get("height")):
        return None
    try:
        return int(row["width"]), int(row["height"])
    except ValueError as exc:
        raise InputError(f"{path} line {line}: width and height are numbers of pixels: {exc}") from exc


def _find(folder: Path, name: str) -> Path:
    places = [folder / inner / name for inner in _FOLDERS]
    return next((place for place in places if is_file(place)), places[0])
