"""Pictures with masks: PNG files whose pixels are class indices (Pascal VOC's and most others' way)."""

from __future__ import annotations

import csv
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.data.listed import dataset_of_files
from mnedge.data.names import read_names
from mnedge.data.preprocess import WHOLE, fit, kept, opened
from mnedge.data.splits import SPLIT_NAMES, split_name
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.data.preprocess import Preprocessing

_LOG = logging.getLogger(__name__)
# Pixels that are neither right nor wrong: outlines, mostly.
IGNORE = 255
_IMAGES, _MASKS = "images", "masks"
_SHOWN = 5
_LONGEST_INDEX = 9
LAYOUT = (
    "it takes a folder with images/ and masks/ (PNG of the same name, pixels are class indices, 255 is not counted), "
    "an optional split.csv (filename, split) and classes.txt (a name a line)"
)


def open_masks(root: Path, *, skip_broken: bool = False, split_seed: int = 0) -> Dataset:
    """Opens a folder with images/ and masks/, or with train and val (eval, test, calibration) folders of such.

    `Dataset.truths` gives a mask: uint8, (resolution, resolution), class indices, `IGNORE` where nothing counts; for
    resolution 0 in pixels of the picture, (H, W), of the part that a model sees.
    `Dataset.labels` is 0 throughout: a picture has no class.

    Args:
        root: The folder.
        skip_broken: Leave out pictures whose mask cannot be used, as `Dataset.findings` then tells; without it, reading
            such a mask raises InputError.
        split_seed: Of the drawn split, where the data has none of its own.

    Raises:
        InputError: Another layout, a picture without mask, a split with no known name, or a class without name.
    """
    parts = {path.name: path for path in sorted(root.glob("*")) if path.name.lower() in SPLIT_NAMES and path.is_dir()}
    places = {"": root} if (root / _IMAGES).is_dir() else parts
    pairs = [
        (picture, mask, SPLIT_NAMES[name.lower()] if name else "")
        for name, place in places.items()
        for picture, mask in _pairs(root, place)
    ]
    if not pairs:
        raise InputError(f"{root} holds no pictures with masks; {LAYOUT}")
    table = root / "split.csv"
    if table.is_file():
        pairs = _with_splits(table, pairs)
    classes = _class_names(root / "classes.txt") or _counted(root, [mask for _, mask, _ in pairs])
    pairs, findings = _usable(root, pairs, classes) if skip_broken else (pairs, ())
    masks = [mask for _, mask, _ in pairs]

    def truths(number: int, resolution: int) -> NDArray[np.uint8]:
        return _read_mask(pairs[number][0], masks[number], resolution, classes, dataset.preprocessing)

    dataset = dataset_of_files(
        str(root),
        root,
        [(picture, 0, split) for picture, _, split in pairs],
        classes,
        split_seed=split_seed,
        preprocessing=WHOLE,
        truths=truths,
        masks=masks,
    )
    return replace(dataset, fixed_classes=True, skip_broken=skip_broken, findings=findings)


def _usable(
    root: Path, pairs: list[tuple[Path, Path, str]], classes: tuple[str, ...]
) -> tuple[list[tuple[Path, Path, str]], tuple[Finding, ...]]:
    """The pictures whose masks can be used, and why the others were left out."""

    def fault(pair: tuple[Path, Path, str]) -> str:
        try:
            _checked_mask(pair[0], pair[1], classes)
        except InputError as exc:
            return str(exc)
        return ""

    with ThreadPoolExecutor() as pool:
        faults = list(pool.map(fault, pairs))
    usable = [pair for pair, why in zip(pairs, faults, strict=True) if not why]
    if not usable:
        raise InputError(f"{root}: none of its {len(pairs)} masks can be used; the first: {faults[0]}")
    if len(usable) == len(pairs):
        return usable, ()
    finding = Finding("pictures were left out for their masks", tuple(filter(None, faults)))
    _LOG.warning("%s: %s", root, finding.sentence())
    return usable, (finding,)


def _pairs(root: Path, place: Path) -> list[tuple[Path, Path]]:
    if not (place / _IMAGES).is_dir() or not (place / _MASKS).is_dir():
        raise InputError(f"{place} has no folders {_IMAGES}/ and {_MASKS}/; {LAYOUT}")
    pictures = sorted(path for path in (place / _IMAGES).iterdir() if path.is_file() and path.name[0] != ".")
    masks = {path.stem: path for path in (place / _MASKS).iterdir() if path.suffix.lower() == ".png"}
    lone = [str(path.relative_to(root)) for path in pictures if path.stem not in masks]
    if lone:
        raise InputError(
            f"{root}: {len(lone)} of {len(pictures)} pictures have no mask of the same name in {_MASKS}/ "
            f"({_listed(lone)}); add NAME.png for each, or take the pictures out"
        )
    return [(path, masks[path.stem]) for path in pictures]


def _with_splits(table: Path, pairs: list[tuple[Path, Path, str]]) -> list[tuple[Path, Path, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, restval="")
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise InputError(f"{table} cannot be read as CSV: {exc}") from exc
    for column in ("filename", "split"):
        if column not in columns:
            raise InputError(f"{table} line 1: no column {column!r}; it has {', '.join(columns) or 'none'}")
    named = {row["filename"]: split_name(table, line, row["split"] or "") for line, row in enumerate(rows, start=2)}
    here = {picture.name for picture, _, _ in pairs}
    if unknown := [name for name in named if name not in here]:
        raise InputError(
            f"{table} names {len(unknown)} pictures that are not in {_IMAGES}/ ({_listed(unknown)}); add them, or "
            "take their lines out"
        )
    if missing := [picture.name for picture, _, _ in pairs if picture.name not in named]:
        raise InputError(
            f"{table} leaves out {len(missing)} pictures of {_IMAGES}/ ({_listed(missing)}); give each a line, or "
            "take them out"
        )
    return [(picture, mask, named[picture.name]) for picture, mask, _ in pairs]


def _class_names(path: Path) -> tuple[str, ...]:
    """Names from classes.txt, "NAME" or "INDEX NAME" a line, 255 left out; none where there is no such file."""
    if not path.is_file():
        return ()
    names: dict[int, str] = {}
    for line, name in enumerate(read_names(path), start=1):
        head, _, rest = name.partition(" ")
        is_numbered = head.isascii() and head.isdigit() and bool(rest)
        # A mask has 8 bits, so a longer number is no index.
        index = int(head[:_LONGEST_INDEX]) if is_numbered else len(names)
        if index in names:
            raise InputError(f"{path} line {line}: class {index} is {names[index]!r} already; give each its own number")
        if index != IGNORE:
            names[index] = rest.strip() if is_numbered else name
    if sorted(names) != list(range(len(names))):
        raise InputError(f"{path} numbers its classes {sorted(names)}; they run from 0 without a gap, background first")
    if len(names) < 2:
        raise InputError(f"{path} names {len(names)} class; a segmentation tells at least two apart, background first")
    return tuple(names[index] for index in range(len(names)))


def _counted(root: Path, masks: list[Path]) -> tuple[str, ...]:
    """Classes "0", "1", … up to the highest index in any mask: nobody named them."""

    def highest(path: Path) -> int:
        values = _indices(path)
        return int(values[values != IGNORE].max(initial=0))

    with ThreadPoolExecutor() as pool:
        found = max(pool.map(highest, masks))
    if found == 0:
        raise InputError(f"the masks of {root} show class 0 only; a segmentation tells at least two classes apart")
    return tuple(str(index) for index in range(found + 1))


def _indices(path: Path) -> NDArray[np.uint8]:
    with opened(path) as mask:
        if mask.mode not in ("L", "P", "1"):
            raise InputError(
                f"the mask {path} has pixels of kind {mask.mode}; it takes 8-bit class indices (L, or P with a "
                "palette), so save indices instead of colours"
            )
        return np.asarray(mask, np.uint8)


def _read_mask(
    picture: Path, path: Path, resolution: int, classes: tuple[str, ...], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    from PIL import Image

    values = _checked_mask(picture, path, classes)
    mask = Image.fromarray(values)
    if resolution == 0:
        left, top, right, bottom = (round(edge) for edge in kept(mask, preprocessing))
        return values[top:bottom, left:right]
    return fit(mask, resolution, replace(preprocessing, interpolation="nearest"))


def _checked_mask(picture: Path, path: Path, classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """The class indices of a mask in its own size, uint8, (H, W)."""
    values = _indices(path)
    with opened(picture) as shown:
        size = shown.size
    if size != values.shape[::-1]:
        raise InputError(
            f"the mask {path} has {values.shape[1]} x {values.shape[0]} pixels, its picture {size[0]} x {size[1]}; "
            "make the mask anew at the picture's size, or resize it with nearest neighbour"
        )
    unknown = sorted(set(np.unique(values).tolist()) - {*range(len(classes)), IGNORE})
    if unknown:
        raise InputError(
            f"the mask {path} has class {unknown[0]}, but there are {len(classes)} classes, 0 to {len(classes) - 1}; "
            f"name it in classes.txt, or give such pixels another class or {IGNORE}, which is not counted"
        )
    return values


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def class_pixels(masks: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Counts the pixels of each class, int64, (classes,); ignored ones are left out.

    Args:
        masks: uint8, (n, H, W).
        classes: How many.
    """
    counts: NDArray[Any] = np.bincount(masks.ravel(), minlength=IGNORE + 1)[:classes]
    return counts.astype(np.int64)
