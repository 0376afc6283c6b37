"""Data sets on disk: a folder with one folder per class, or a labels.csv."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.data._dataset import SPLITS, Dataset
from mnedge.data.listed import dataset_of_files
from mnedge.data.names import MOST_CLASSES, checked_name, read_names
from mnedge.data.splits import SPLIT_NAMES, split_name
from mnedge.errors import InputError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from pathlib import Path

# Letters of a wrong cell that a message shows.
_SHOWN = 40


def open_folder(root: Path, *, skip_broken: bool = False, split_seed: int = 0) -> Dataset:
    """Opens a folder with one folder per class, or with train, calibration and eval (val, test) folders of such.

    Raises:
        InputError: Empty, one class only, or a split with other classes.
    """
    parts = {SPLIT_NAMES[path.name.lower()]: path for path in _folders(root) if path.name.lower() in SPLIT_NAMES}
    places = parts or {"": root}
    names = sorted({path.name for place in places.values() for path in _folders(place)})
    if not names:
        raise InputError(f"{root} has no class folders; put the pictures of each class into a folder of its own")
    if len(names) == 1:
        raise InputError(f"{root} has one class, {names[0]!r}; a classifier needs at least two class folders")
    for name in names:
        checked_name(name, f"the folder {name!r} of {root}")
    rows: list[tuple[Path, int, str]] = []
    for split, place in places.items():
        for index, name in enumerate(names):
            files = _pictures(place / name)
            if not files and split in ("", "eval", "train"):
                raise InputError(f"{place / name} holds no files; add pictures of {name!r} or remove the folder")
            rows.extend((file, index, split) for file in files)
    dataset = dataset_of_files(str(root), root, rows, tuple(names), split_seed=split_seed)
    return replace(dataset, fixed_classes=True, skip_broken=skip_broken)


def open_csv(path: Path, *, skip_broken: bool = False, split_seed: int = 0) -> Dataset:
    """Opens a CSV with filename and class_index, and optionally split and class, relative to its folder.

    Raises:
        InputError: A column is missing, an index is no class, a file is not there, or a split has no known name.
    """
    table = _table(path)
    rows: list[tuple[Path, int, str]] = []
    names: dict[int, tuple[str, int]] = {}
    missing = []
    for line, entry in table:
        index = _class_index(path, line, entry)
        if not entry["filename"]:
            raise InputError(f"{path} line {line}: no filename; fill it in or take the row out")
        file = path.parent / entry["filename"]
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
    if missing:
        shown = "; ".join(missing[:3])
        raise InputError(
            f"{path} names {len(missing)} of {len(table)} pictures that are not there ({shown}); "
            f"file names are relative to {path.parent}"
        )
    indices = {index for _, index, _ in rows}
    if len(indices) == 1:
        raise InputError(f"{path} has one class, {indices.pop()}; a classifier needs at least two")
    classes = _class_names(path.parent) or tuple(
        names[index][0] if index in names else str(index) for index in range(max(indices) + 1)
    )
    if max(indices) >= len(classes):
        raise InputError(f"{path} has class_index {max(indices)}, but its list of names has {len(classes)} classes")
    return replace(
        dataset_of_files(str(path), path.parent, rows, classes, split_seed=split_seed), skip_broken=skip_broken
    )


def _table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers; a cell that a short row lacks is empty."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="")
            columns = reader.fieldnames or []
            table = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{path} cannot be read as CSV: {exc}") from exc
    for column in ("filename", "class_index"):
        if column not in columns:
            raise InputError(f"{path} line 1: no column {column!r}; it has {', '.join(columns) or 'none'}")
    if not table:
        raise InputError(f"{path} lists no pictures; add rows below its header")
    return table


def _class_index(path: Path, line: int, entry: dict[str, str]) -> int:
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


def _class_names(folder: Path) -> tuple[str, ...]:
    """Names from a labels.txt or synset_words.txt beside the CSV; none where there is no such file."""
    for name in ("labels.txt", "synset_words.txt"):
        if (folder / name).is_file():
            lines = read_names(folder / name)
            return tuple(line.partition(" ")[2] if name == "synset_words.txt" else line for line in lines)
    return ()


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in found if path.name != "Thumbs.db")


def describe(dataset: Dataset) -> str:
    """One line for logs: how many pictures in which split and how many classes."""
    counts = Counter({name: numbers.size for name, numbers in dataset.splits.items()})
    shown = ", ".join(f"{counts[name]} {name}" for name in SPLITS)
    return f"{dataset.name}: {shown}; {len(dataset.classes)} classes"
