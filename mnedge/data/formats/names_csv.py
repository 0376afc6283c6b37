"""Classes from a CSV of file names and class names, without indices: filename,class or image_id,label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Labelled
from mnedge.data.formats._table import header_of, read_table
from mnedge.data.formats.index_csv import refuse_missing
from mnedge.data.listing import PICTURES
from mnedge.data.names import checked_name, read_names
from mnedge.data.splits import split_name, split_of
from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.listed import Row
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
_CLASSES = ("class", "label", "labels", "class_name", "category", "species", "breed", "diagnosis", "target")
_INDICES = ("class_index",)
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
    classes = _classes(tables[0][0], [(label, where) for _, label, _, where in rows])
    indices = {name: index for index, name in enumerate(classes)}
    first: dict[Path, tuple[str, str]] = {}
    made: list[Row] = []
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
    layout="a CSV with filename and class (or image_id and label)",
    recognise=_recognise,
    classes=_read,
)
