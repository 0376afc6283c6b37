"""Masks as Roboflow exports them: NAME_mask.png beside NAME.jpg, and a _classes.csv with Pixel Value, Class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Mask, Masked
from mnedge.data.formats._pixels import Encoding, mask_of_file
from mnedge.data.formats._table import header_of, read_table
from mnedge.data.names import checked_name
from mnedge.data.splits import split_of
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.listing import Listing

_NAME, _ENDING = "_classes.csv", "_mask"
_VALUE, _CLASS = "Pixel Value", "Class"


def _tables(listing: Listing) -> list[Path]:
    return [path for path in listing.around if path.name == _NAME and {_VALUE, _CLASS} <= set(header_of(path))]


def _recognise(listing: Listing) -> str:
    found = [path for path in listing.files if path.name == _NAME]
    return next((listing.relative(path) for path in found if path in _tables(listing)), "")


def _read(listing: Listing) -> Masked:
    """Reads the folders, one a split.

    Raises:
        InputError: A picture without mask, a value twice, or folders whose lists of classes differ.
    """
    tables = _tables(listing)
    values, source = _values(tables[0]), tables[0]
    for path in tables[1:]:
        if _values(path) != values:
            raise InputError(f"{path} and {source} list other classes; export all splits together")
    encoding = Encoding(tuple(values.values()), values={value: index for index, value in enumerate(values)})
    rows: list[tuple[Path, Mask, str]] = []
    lone = []
    for path in listing.pictures:
        if path.stem.endswith(_ENDING) or path.parent not in {table.parent for table in tables}:
            continue
        mask = path.with_name(f"{path.stem}{_ENDING}.png")
        if mask.is_file():
            rows.append((path, mask_of_file(mask, encoding), split_of(listing.parts(path))))
        else:
            lone.append(listing.relative(path))
    notes = (Finding("pictures have no _mask.png and were left out", tuple(lone)),) if lone else ()
    return Masked(listing.root, rows, encoding.classes, notes)


def _values(path: Path) -> dict[int, str]:
    """Class names by pixel value, in the order of the values."""
    table = read_table(path)
    found: dict[int, str] = {}
    for line, row in table.rows:
        text, name = row[_VALUE].strip(), checked_name(row[_CLASS].strip(), f"{path} line {line}")
        if not text.isdecimal() or len(text) > 3 or int(text) > 255 or not name:
            raise InputError(f"{path} line {line}: {text!r}, {name!r} is no pixel value from 0 to 255 with its class")
        if int(text) in found or name in found.values():
            raise InputError(f"{path} line {line}: {text} or {name!r} stands there twice; leave one row a class")
        found[int(text)] = name
    if len(found) < 2:
        raise InputError(f"{path} names {len(found)} class; a segmentation tells at least two apart")
    return dict(sorted(found.items()))


FORMAT = Format(
    title="Roboflow masks",
    layout="Roboflow's NAME_mask.png beside NAME.jpg with a _classes.csv",
    recognise=_recognise,
    masks=_read,
)
