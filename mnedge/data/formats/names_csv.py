"""Classes from a CSV of file names and class names, without indices: filename,class or image_id,label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Labelled, Tagged
from mnedge.data.formats._table import header_of, read_table
from mnedge.data.formats._tags import Row, tagged
from mnedge.data.formats.index_csv import refuse_missing
from mnedge.data.listing import PICTURES
from mnedge.data.names import checked_name, read_names
from mnedge.data.splits import split_name, split_of
from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnedge.data.listed import Row as OneClass
    from mnedge.data.listing import Listing

_FILES = (
    "filename",
    "file_name",
    "file",
    "image",
    "image_id",
    "image_name",
    "img",
    "path",
    "filepath",
    "id",
    "id_code",
)
_CLASSES = ("class", "label", "labels", "class_name", "category", "species", "breed", "diagnosis", "target", "tags")
_INDICES = ("class_index",)
# Of a list of labels in a cell, the likeliest first.
_BETWEEN = (",", ";", "|")
_FOLDERS = ("", "images", "train_images", "train", "img", "imgs")


def _columns(path: Path) -> tuple[str, str] | None:
    """The columns of file names and class names; None where there are none, or corners of boxes beside them."""
    header = header_of(path)
    lower = {name.lower(): name for name in header}
    if {"x1", "xmin", "x_min", *_INDICES} & set(lower):
        return None
    file = next((lower[name] for name in _FILES if name in lower), None)
    named = next((lower[name] for name in _CLASSES if name in lower), None)
    return (file, named) if file is not None and named is not None else None


def _recognise(listing: Listing) -> str:
    found = [path for path in listing.with_suffix(".csv", ".tsv") if _columns(path) is not None]
    return listing.relative(found[0]) if found else ""


def _read(listing: Listing) -> Labelled:
    """Reads the tables, one or one a split (train.csv, test.csv); classes are in the order of a labels.txt, or sorted.

    Raises:
        InputError: A cell is empty, a picture is not there, or a class is not in labels.txt.
    """
    rows: list[tuple[Path, str, str, str]] = []
    tables = [(path, own) for path in listing.with_suffix(".csv", ".tsv") if (own := _columns(path)) is not None]
    notes: list[Finding] = []
    for path, (column, named) in tables:
        table = read_table(path)
        split_of_file = split_of(listing.parts(path)) or (split_of([path.stem]) if len(tables) > 1 else "")
        missing = []
        for line, row in table.rows:
            name, label = row[column], row[named].strip()
            if not name or not label:
                raise InputError(f"{path} line {line}: {column if not name else named} is empty; fill it in")
            checked_name(label, f"{path} line {line}")
            file = _picture(path, name, listing)
            if not is_file(file):
                missing.append(f"line {line}: {name}")
            split = split_name(path, line, row.get("split") or "") or split_of_file
            rows.append((file, label, split, f"{path} line {line}"))
        refuse_missing(path, missing, len(table.rows))
    if not rows:
        raise InputError(f"{tables[0][0]} lists no pictures; add rows below its header")
    _refuse_lists([(label, where) for _, label, _, where in rows])
    classes = _classes(tables[0][0], [(label, where) for _, label, _, where in rows])
    indices = {name: index for index, name in enumerate(classes)}
    first: dict[Path, tuple[str, str]] = {}
    made: list[OneClass] = []
    twice = []
    for file, label, split, where in rows:
        known, earlier = first.setdefault(file, (label, where))
        if known != label:
            raise InputError(
                f"{where}: {file.name} is {label!r} here, but {known!r} in {earlier}; classify takes one class each"
            )
        if earlier != where:
            twice.append(where)
            continue
        made.append((file, indices[label], split))
    if twice:
        notes.append(Finding("rows name a picture again and were left out", tuple(twice)))
    return Labelled(listing.root, made, classes, notes=tuple(notes))


def _read_labels(listing: Listing) -> Tagged:
    """Reads pictures with a list of labels in a cell: `cat,dog`, `cat;dog`, `cat|dog`, `cat dog` or `['cat', 'dog']`.

    Raises:
        InputError: A picture is not there or stands in two rows, or a name is refused.
    """
    read: list[tuple[Path, str, str, str]] = []
    tables = [(path, own) for path in listing.with_suffix(".csv", ".tsv") if (own := _columns(path)) is not None]
    for path, (column, named) in tables:
        split_of_file = split_of(listing.parts(path)) or (split_of([path.stem]) if len(tables) > 1 else "")
        for line, row in read_table(path).rows:
            if not row[column]:
                raise InputError(f"{path} line {line}: {column} is empty; fill it in")
            split = split_name(path, line, row.get("split") or "") or split_of_file
            read.append((_picture(path, row[column], listing), row[named].strip(), split, f"{path} line {line}"))
    if not read:
        raise InputError(f"{tables[0][0]} lists no pictures; add rows below its header")
    separator = _separator([cell for _, cell, _, _ in read], is_list=tables[0][1][1].lower() == "tags")
    rows = [Row(file, _taken_apart(cell, separator), split, where) for file, cell, split, where in read]
    used = sorted({name for row in rows for name in row.names})
    several = tuple(row.where for row in rows if len(row.names) > 1)
    notes = [Finding(f"cells hold several labels, taken apart at {separator!r}", several)] if several else []
    if all(name.isdecimal() and len(name) < 10 for name in used):
        used.sort(key=int)
    return tagged(tables[0][0], listing.root, rows, used, notes)


def _separator(cells: Sequence[str], *, is_list: bool) -> str:
    """The separator of the labels in a cell; "" where each cell is one label.

    Args:
        cells: The cells of the column.
        is_list: Whether spaces part labels in any case, as in a column `tags`.
    """
    for separator in _BETWEEN:
        if any(separator in cell for cell in cells):
            return separator
    # "golden retriever" is one label, unless its words are labels by themselves too.
    alone = {cell for cell in cells if " " not in cell}
    parts = [part for cell in cells if " " in cell for part in cell.split()]
    return " " if parts and (is_list or set(parts) <= alone) else ""


def _taken_apart(cell: str, separator: str) -> list[str]:
    inner = cell[1:-1] if cell[:1] == "[" and cell[-1:] == "]" else cell
    parts = inner.split(separator) if separator else [inner]
    return [name for part in parts if (name := part.strip().strip("'\"").strip())]


def _picture(path: Path, name: str, listing: Listing) -> Path:
    """The picture of a cell, which may leave the suffix out."""
    places = [path.parent / inner for inner in _FOLDERS]
    found = listing.picture(name, places)
    if is_file(found):
        return found
    for suffix in PICTURES:
        longer = listing.picture(name + suffix, places)
        if is_file(longer):
            return longer
    return found


def _refuse_lists(labels: list[tuple[str, str]]) -> None:
    """Makes sure that a cell is one class: `cat,dog` beside `cat` and `dog` is two.

    Raises:
        InputError: A cell is a list of classes.
    """
    alone = {label for label, _ in labels}
    for label, where in labels:
        for separator in _BETWEEN:
            parts = _taken_apart(label, separator)
            if len(parts) > 1 and set(parts) <= alone:
                raise InputError(
                    f"{where}: {label!r} is {len(parts)} classes, and classify takes one class a picture: give --task "
                    "tag for several"
                )


def _classes(path: Path, labels: list[tuple[str, str]]) -> tuple[str, ...]:
    used = {label for label, _ in labels}
    listed = path.parent / "labels.txt"
    if listed.is_file():
        names = tuple(read_names(listed))
        for label, where in labels:
            if label not in names:
                raise InputError.unknown(f"class at {where} (allowed are those of {listed})", label, names)
        return names
    if len(used) < 2:
        raise InputError(f"{path} has one class, {next(iter(used))!r}; a classifier needs at least two")
    # Numbers stand in their own order: "10" comes after "9".
    if all(label.isdecimal() and len(label) < 10 for label in used):
        return tuple(sorted(used, key=int))
    return tuple(sorted(used))


FORMAT = Format(
    title="CSV of class names",
    layout="a CSV with filename and class (or image_id and label; for tag labels or tags, as cat,dog)",
    recognise=_recognise,
    classes=_read,
    labels=_read_labels,
)
