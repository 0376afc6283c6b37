"""Boxes from Google's AutoML and Model Maker CSV: no header, eleven cells a box, corners as fractions of the picture.

A row is set, path, label, x1, y1, , , x2, y2, , (https://cloud.google.com/vertex-ai/docs/image-data/object-detection/prepare-data).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.annotation import Annotated, Annotations, Marked
from mnedge.data.formats._format import Format
from mnedge.data.formats._table import header_of, read_lines
from mnedge.data.names import with_class_list
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.listing import Listing

_SETS = {
    "TRAIN": "train", "TRAINING": "train", "VALIDATE": "eval", "VALIDATION": "eval", "TEST": "test", "UNASSIGNED": "",
    "": "",
}  # fmt: skip
_CELLS = 11
_X1, _Y1, _X2, _Y2 = 3, 4, 7, 8


def _tables(listing: Listing) -> list[Path]:
    return [path for path in listing.with_suffix(".csv") if _looks_right(header_of(path))]


def _looks_right(cells: tuple[str, ...]) -> bool:
    return len(cells) >= _CELLS - 2 and cells[0].upper() in _SETS and "." in cells[1]


def _recognise(listing: Listing) -> str:
    return next((listing.relative(path) for path in _tables(listing)), "")


def _read(listing: Listing) -> Annotations:
    """Reads the CSV files; pictures in a bucket (gs://…) are looked for by their base name.

    Raises:
        InputError: A row has another number of cells, an unknown set, or numbers that are no fractions.
    """
    splits: dict[str, tuple[str, str]] = {}
    objects: dict[str, list[Marked]] = {}
    for path in _tables(listing):
        for line, row in read_lines(path):
            cells = [cell.strip() for cell in row] + [""] * (_CELLS - len(row))
            if len(cells) > _CELLS or cells[0].upper() not in _SETS or not cells[1]:
                raise InputError(
                    f"{path} line {line}: {', '.join(row)[:60]!r} is no row of AutoML's; it is set, path, label, x1, "
                    "y1, , , x2, y2, , with TRAIN, VALIDATION, TEST or UNASSIGNED as set"
                )
            split, name = _SETS[cells[0].upper()], cells[1]
            known, where = splits.setdefault(name, (split, f"{path.name} line {line}"))
            if known != split:
                raise InputError(
                    f"{path} line {line}: {name} is in set {cells[0]}, but {where} has it in another; a picture is in "
                    "one split"
                )
            own = objects.setdefault(name, [])
            if cells[2]:
                corners = [_fraction(path, line, cells[place]) for place in (_X1, _Y1, _X2, _Y2)]
                box = (corners[0], corners[1], corners[2], corners[3])
                own.append(Marked(cells[2], box, f"{path.name} line {line}", is_relative=True))
    pictures = [
        Annotated(listing.picture(name, [listing.root, listing.root / "images"]), split, tuple(objects[name]), where)
        for name, (split, where) in splits.items()
    ]
    return with_class_list(Annotations(listing.root, pictures))


def _fraction(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"{path} line {line}: a corner is {text[:40]!r}; it is a fraction of the picture, 0 to 1")
    return value


FORMAT = Format(
    title="AutoML CSV",
    layout="AutoML's CSV without header (set, path, label, x1, y1, , , x2, y2, ,)",
    recognise=_recognise,
    boxes=_read,
)
