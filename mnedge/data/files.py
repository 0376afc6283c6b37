"""Data sets on disk: a folder with one folder per class, or a labels.csv."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from mnedge.data._dataset import SPLITS, Dataset
from mnedge.data.preprocess import INTERPOLATIONS, Preprocessing, read_pixels
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "calibration": "calibration",
    "calib": "calibration",
    "eval": "eval",
    "val": "eval",
    "valid": "eval",
    "validation": "eval",
    "test": "eval",
}
_FRACTIONS = {"eval": 0.2, "calibration": 0.1}
_CALIBRATION_IMAGES = 256
_SETTINGS = "dataset.yaml"


def open_folder(root: Path, *, skip_broken: bool = False, split_seed: int = 0) -> Dataset:
    """Opens a folder with one folder per class, or with train, calibration and eval (val, test) folders of such.

    Raises:
        InputError: Empty, one class only, or a split with other classes.
    """
    parts = {_SPLIT_NAMES[path.name.lower()]: path for path in _folders(root) if path.name.lower() in _SPLIT_NAMES}
    places = parts or {"": root}
    names = sorted({path.name for place in places.values() for path in _folders(place)})
    if not names:
        raise InputError(f"{root} has no class folders; put the pictures of each class into a folder of its own")
    if len(names) == 1:
        raise InputError(f"{root} has one class, {names[0]!r}; a classifier needs at least two class folders")
    rows: list[tuple[Path, int, str]] = []
    for split, place in places.items():
        for index, name in enumerate(names):
            files = _pictures(place / name)
            if not files and split in ("", "eval", "train"):
                raise InputError(f"{place / name} holds no files; add pictures of {name!r} or remove the folder")
            rows.extend((file, index, split) for file in files)
    dataset = _dataset(str(root), root, rows, tuple(names), split_seed=split_seed)
    return replace(dataset, fixed_classes=True, skip_broken=skip_broken)


def open_csv(path: Path, *, skip_broken: bool = False, split_seed: int = 0) -> Dataset:
    """Opens a CSV with filename and class_index, and optionally split and class, relative to its folder.

    Raises:
        InputError: A column is missing, an index is no class, a file is not there, or a split has no known name.
    """
    table = _table(path)
    rows, names, missing = [], {}, []
    for line, entry in enumerate(table, start=2):
        index = _class_index(path, line, entry)
        file = path.parent / entry["filename"]
        if not file.is_file():
            missing.append(f"line {line}: {entry['filename']}")
        rows.append((file, index, _split_name(path, line, entry.get("split") or "")))
        if entry.get("class"):
            names[index] = entry["class"]
    if missing:
        shown = "; ".join(missing[:3])
        raise InputError(
            f"{path} names {len(missing)} of {len(table)} pictures that are not there ({shown}); "
            f"file names are relative to {path.parent}"
        )
    indices = {index for _, index, _ in rows}
    if len(indices) == 1:
        raise InputError(f"{path} has one class, {indices.pop()}; a classifier needs at least two")
    classes = _class_names(path.parent) or tuple(names.get(i, str(i)) for i in range(max(indices) + 1))
    if max(indices) >= len(classes):
        raise InputError(f"{path} has class_index {max(indices)}, but its list of names has {len(classes)} classes")
    return replace(_dataset(str(path), path.parent, rows, classes, split_seed=split_seed), skip_broken=skip_broken)


def _table(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            table = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{path} cannot be read as CSV: {exc}") from exc
    for column in ("filename", "class_index"):
        if column not in columns:
            raise InputError(f"{path} line 1: no column {column!r}; it has {', '.join(columns) or 'none'}")
    if not table:
        raise InputError(f"{path} lists no pictures; add rows below its header")
    return table


def _class_index(path: Path, line: int, entry: dict[str, Any]) -> int:
    try:
        index = int(entry["class_index"])
    except (TypeError, ValueError):
        index = -1
    if index < 0:
        raise InputError(f"{path} line {line}: class_index is {entry['class_index']!r}; it is a number from 0 up")
    return index


def _split_name(path: Path, line: int, name: str) -> str:
    if not name:
        return ""
    if name.lower() not in _SPLIT_NAMES:
        raise InputError(f"{path} line {line}: split {name!r} is not one of {', '.join(_SPLIT_NAMES)}")
    return _SPLIT_NAMES[name.lower()]


def _class_names(folder: Path) -> tuple[str, ...]:
    """Names from a labels.txt or synset_words.txt beside the CSV; none where there is no such file."""
    for name in ("labels.txt", "synset_words.txt"):
        if (folder / name).is_file():
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
            return tuple(line.partition(" ")[2] if name == "synset_words.txt" else line for line in lines if line)
    return ()


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in found if path.name != "Thumbs.db")


def _preprocessing(root: Path) -> Preprocessing:
    path = root / _SETTINGS
    if not path.is_file():
        return Preprocessing()
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as exc:
        raise InputError(f"{path} is not YAML: {exc}") from exc
    known = {"crop_fraction", "interpolation"}
    for key in settings:
        if key not in known:
            raise InputError.unknown(f"key in {path}", str(key), known)
    crop = settings.get("crop_fraction", Preprocessing.crop_fraction)
    if not isinstance(crop, (int, float)) or not 0 < crop <= 1:
        raise InputError(f"{path}: crop_fraction is {crop!r}; it is a number above 0 and at most 1")
    interpolation = settings.get("interpolation", Preprocessing.interpolation)
    if interpolation not in INTERPOLATIONS:
        raise InputError.unknown("interpolation", str(interpolation), INTERPOLATIONS)
    return Preprocessing(float(crop), interpolation)


def _dataset(
    name: str,
    root: Path,
    rows: list[tuple[Path, int, str]],
    classes: tuple[str, ...],
    *,
    split_seed: int,
) -> Dataset:
    preprocessing = _preprocessing(root)
    is_split = any(split for _, _, split in rows)
    seed = 0 if is_split else split_seed
    sources = tuple(file.relative_to(root).as_posix() for file, _, _ in rows)
    labels = np.array([index for _, index, _ in rows], np.int64)
    files = tuple(file for file, _, _ in rows)

    def read(number: int, resolution: int) -> Any:  # noqa: ANN401 - an array of uint8
        return read_pixels(files[number], resolution, preprocessing)

    return Dataset(
        name=name,
        classes=classes,
        fixed_classes=False,
        labels=labels,
        splits=_splits([split for _, _, split in rows], labels, sources, seed),
        sources=sources,
        read=read,
        fingerprint=_fingerprint(rows, sources, preprocessing, seed),
        preprocessing=preprocessing,
        split_seed=None if is_split else split_seed,
        root=root,
    )


def _fingerprint(
    rows: list[tuple[Path, int, str]], sources: tuple[str, ...], preprocessing: Preprocessing, seed: int
) -> str:
    # Size and time stand for the content: 50,000 pictures are not read to find that nothing changed.
    digest = hashlib.sha256(json.dumps([preprocessing.crop_fraction, preprocessing.interpolation, seed]).encode())
    for (file, index, split), source in zip(rows, sources, strict=True):
        status = file.stat()
        digest.update(f"{source}\0{index}\0{split}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _splits(
    given: list[str], labels: np.ndarray[Any, np.dtype[np.int64]], sources: tuple[str, ...], seed: int
) -> dict[str, Any]:
    """Takes the splits as given; what is missing is drawn by the hash of seed and file name, class by class.

    A drawn split does not move when pictures are added. Calibration needs no labels of its own, so where only it
    is missing it is taken from train without taking those pictures away from there.
    """
    splits: dict[str, list[int]] = {name: [] for name in SPLITS}
    if any(given):
        for number, name in enumerate(given):
            splits[name or "train"].append(number)
    else:
        by_class: dict[int, list[int]] = {}
        for number in _hash_order(range(len(sources)), sources, seed):
            by_class.setdefault(int(labels[number]), []).append(number)
        for numbers in by_class.values():
            held = max(1, round(_FRACTIONS["eval"] * len(numbers))) if len(numbers) > 1 else 0
            calibration = round(_FRACTIONS["calibration"] * len(numbers))
            splits["eval"] += numbers[:held]
            splits["calibration"] += numbers[held : held + calibration]
            splits["train"] += numbers[held + calibration :]
    if not splits["calibration"]:
        splits["calibration"] = _hash_order(splits["train"], sources, seed)[:_CALIBRATION_IMAGES]
    return {name: np.array(sorted(numbers), np.int64) for name, numbers in splits.items()}


def _hash_order(numbers: Any, sources: tuple[str, ...], seed: int) -> list[int]:  # noqa: ANN401 - any iterable of int
    salt = f"{seed}/" if seed else ""
    return sorted(numbers, key=lambda number: hashlib.sha256(f"{salt}{sources[number]}".encode()).digest())


def describe(dataset: Dataset) -> str:
    """One line for logs: how many pictures in which split and how many classes."""
    counts = Counter({name: numbers.size for name, numbers in dataset.splits.items()})
    shown = ", ".join(f"{counts[name]} {name}" for name in SPLITS)
    return f"{dataset.name}: {shown}; {len(dataset.classes)} classes"
