"""Classes from a CSV with filename and class_index, and optionally split and class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Labelled
from mnedge.data.formats._table import read_table, tables_with
from mnedge.data.names import MOST_CLASSES, checked_name, read_names
from mnedge.data.splits import split_name
from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mnedge.data.listing import Listing

# Letters of a wrong cell that a message shows.
_SHOWN = 40


def _tables(listing: Listing) -> list[Path]:
    found = tables_with(listing, "class_index")
    return [path for path in found if path.parent == listing.root] or found


def _recognise(listing: Listing) -> str:
    return next((listing.relative(path) for path in _tables(listing)), "")


def _read(listing: Listing) -> Labelled:
    """Reads the CSV; file names are relative to its folder.

    Raises:
        InputError: A column is missing, an index is no class, a file is not there, a split has no known name, or names
            contradict each other.
    """
    tables = _tables(listing)
    if len(tables) > 1:
        raise InputError(
            f"{listing.given} holds {len(tables)} tables ({', '.join(map(listing.relative, tables[:3]))}); give one"
        )
    path = tables[0]
    table = read_table(path)
    table.require("filename", "class_index")
    if not table.rows:
        raise InputError(f"{path} lists no pictures; add rows below its header")
    rows: list[tuple[Path, int, str]] = []
    names: dict[int, tuple[str, int]] = {}
    missing = []
    for line, entry in table.rows:
        index = _class_index(path, line, entry)
        if not entry["filename"]:
            raise InputError(f"{path} line {line}: no filename; fill it in or take the row out")
        file = listing.picture(entry["filename"], [path.parent])
        if not is_file(file):
            missing.append(f"line {line}: {entry['filename']}")
        rows.append((file, index, split_name(path, line, entry.get("split") or "")))
        if entry.get("class"):
            name = checked_name(entry["class"], f"{path} line {line}")
            known, first = names.setdefault(index, (name, line))
            if name != known:
                raise InputError(
                    f"{path} line {line}: class_index {index} is {name!r} here, but {known!r} in line {first}; a class "
                    "has one name"
                )
    refuse_missing(path, missing, len(table.rows))
    indices = {index for _, index, _ in rows}
    if len(indices) == 1:
        raise InputError(f"{path} has one class, {indices.pop()}; a classifier needs at least two")
    classes, notes = _class_names(path, names, indices)
    return Labelled(path.parent, rows, classes, notes=notes)


def refuse_missing(path: Path, missing: list[str], count: int) -> None:
    """Makes sure that the pictures of a table are there.

    Args:
        path: The table.
        missing: Those that are not, with their lines.
        count: Number of pictures that it names.

    Raises:
        InputError: Some are missing.
    """
    if missing:
        shown = "; ".join(missing[:3])
        raise InputError(
            f"{path} names {len(missing)} of {count} pictures that are not there ({shown}); "
            f"file names are relative to {path.parent}"
        )


def _class_index(path: Path, line: int, entry: Mapping[str, str]) -> int:
    try:
        index = int(entry["class_index"])
    except ValueError:
        index = -1
    if not 0 <= index < MOST_CLASSES:
        raise InputError(
            f"{path} line {line}: class_index is {entry['class_index'][:_SHOWN]!r}; it is a number from 0 to "
            f"{MOST_CLASSES - 1}"
        )
    return index


def _class_names(
    path: Path, named: Mapping[int, tuple[str, int]], indices: set[int]
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Returns class names by index, and findings about the numbers."""
    twice: dict[str, int] = {}
    for index, (name, line) in sorted(named.items()):
        if twice.setdefault(name, index) != index:
            raise InputError(
                f"{path} line {line}: class_index {index} is {name!r}, and so is class_index {twice[name]}; give each "
                "class one index"
            )
    source, listed = _listed_names(path.parent)
    if source is not None:
        if max(indices) >= len(listed):
            raise InputError(
                f"{path} has class_index {max(indices)}, but its list of names has {len(listed)} classes, 0 to "
                f"{len(listed) - 1}, in {source.name}; indices are numbered from 0"
            )
        for index, (name, line) in sorted(named.items()):
            # A list of synonyms ("tench, Tinca tinca") may say more than the column.
            if name != listed[index] and name not in (part.strip() for part in listed[index].split(",")):
                raise InputError(
                    f"{path} line {line}: class_index {index} is {name!r}, but {source.name} line {index + 1} says "
                    f"{listed[index]!r}; make them agree, or take one of them out"
                )
        return listed, ()
    if min(indices) == 1 and len(indices) == max(indices):
        # Numbered from 1, with nothing that says what 0 is: an output that nothing teaches.
        raise InputError(
            f"{path} numbers its classes from 1 to {max(indices)}, and class_index begins with 0; subtract 1, or name "
            "class 0 in a labels.txt beside it, one name a line"
        )
    classes = tuple(named[index][0] if index in named else str(index) for index in range(max(indices) + 1))
    gaps = tuple(str(index) for index in range(max(indices)) if index not in indices)
    return classes, (Finding("class indices have no picture; they keep their places", gaps),) if gaps else ()


def _listed_names(folder: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Reads names from a labels.txt or synset_words.txt beside the CSV; none without such a file."""
    for name in ("labels.txt", "synset_words.txt"):
        path = folder / name
        if path.is_file():
            lines = read_names(path)
            return path, tuple(line.partition(" ")[2] if name == "synset_words.txt" else line for line in lines)
    return None, ()


FORMAT = Format(
    title="CSV of class indices",
    layout="a labels.csv with filename and class_index, and optionally class and split",
    recognise=_recognise,
    classes=_read,
)
