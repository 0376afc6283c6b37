"""Pictures with masks, in any format of `formats/` that has masks or outlines."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import formats
from mnedge.data.annotation import Annotations
from mnedge.data.dataset import Found
from mnedge.data.draw import Draw
from mnedge.data.formats._pixels import IGNORE
from mnedge.data.listed import dataset_of_files, look
from mnedge.data.outlines import masked
from mnedge.data.preprocess import WHOLE, fit, kept, opened
from mnedge.data.summary import announced
from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.dataset import Dataset
    from mnedge.data.formats._format import Mask
    from mnedge.data.preprocess import Preprocessing
    from mnedge.untyped import AnyArray

    # A picture, its mask, and its split.
    Row = tuple[Path, Mask, str]

_SHOWN = 3

__all__ = ["IGNORE", "class_pixels", "open_masks"]


def open_masks(root: Path, *, skip_broken: bool = False, draw: Draw | None = None) -> Dataset:
    """Opens pictures with masks.

    `Dataset.truths` gives a mask: uint8, (resolution, resolution), class indices, `IGNORE` where nothing counts; for
    resolution 0 in pixels of the picture, (H, W), of the part that a model sees.
    `Dataset.labels` is 0 throughout: a picture has no class.

    Args:
        root: A folder, file or .zip of any format that has masks or outlines.
        skip_broken: Leave out pictures whose mask cannot be used, as `Dataset.findings` then tells; without it, reading
            such a mask raises InputError.
        draw: Settings of the splits' draw, for data without its own.

    Raises:
        InputError: Another layout, a picture without mask, a split with no known name, or a class without name.
    """
    draw = draw or Draw()
    listing = look(root, draw)
    entry, evidence = formats.choose(listing, "masks")
    assert entry.masks is not None, entry.title
    found = entry.masks(listing)
    if isinstance(found, Annotations):
        found = masked(found)
    if not found.rows:
        raise InputError(f"{root} lists no pictures; add some, or give another data set")
    classes = found.classes
    rows, findings = _usable(root, found.rows, classes) if skip_broken else (_present(root, found.rows), ())
    masks = [mask for _, mask, _ in rows]
    drawn = hashlib.sha256("\0".join(mask.told for mask in masks).encode()).hexdigest()

    def truths(number: int, resolution: int) -> NDArray[np.uint8]:
        return _read_mask(rows[number][0], masks[number], resolution, classes, dataset.preprocessing)

    dataset = dataset_of_files(
        str(root),
        found.root,
        [(picture, 0, split) for picture, _, split in rows],
        classes,
        draw=draw,
        preprocessing=WHOLE,
        truths=truths,
        masks=[file for mask in masks for file in mask.files],
        boxes_sha256=drawn if any(mask.told for mask in masks) else "",
    )
    return announced(
        replace(
            dataset,
            fixed_classes=True,
            skip_broken=skip_broken,
            findings=(*found.notes, *dataset.findings, *findings),
            found=Found(entry.title, evidence),
        )
    )


def _present(root: Path, rows: Sequence[Row]) -> Sequence[Row]:
    missing = [str(picture) for picture, _, _ in rows if not is_file(picture)]
    if missing:
        raise InputError(
            f"{root}: {len(missing)} of {len(rows)} pictures are not there ({', '.join(missing[:_SHOWN])}); add them, "
            "or pass --skip-broken to leave them out"
        )
    return rows


def _usable(root: Path, rows: Sequence[Row], classes: tuple[str, ...]) -> tuple[Sequence[Row], tuple[Finding, ...]]:
    """The pictures whose masks can be used, and why the others were left out."""

    def fault(row: Row) -> str:
        try:
            _checked_mask(row[0], row[1], classes)
        except InputError as exc:
            return str(exc)
        return ""

    with ThreadPoolExecutor() as pool:
        faults = list(pool.map(fault, rows))
    usable = [row for row, why in zip(rows, faults, strict=True) if not why]
    if not usable:
        raise InputError(f"{root}: none of its {len(rows)} masks can be used; the first: {faults[0]}")
    if len(usable) == len(rows):
        return usable, ()
    return usable, (Finding("pictures were left out for their masks", tuple(filter(None, faults))),)


def _read_mask(
    picture: Path, mask: Mask, resolution: int, classes: tuple[str, ...], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    from PIL import Image

    values = _checked_mask(picture, mask, classes)
    shown = Image.fromarray(values)
    if resolution == 0:
        left, top, right, bottom = (round(edge) for edge in kept(shown, preprocessing))
        return values[top:bottom, left:right]
    return fit(shown, resolution, replace(preprocessing, interpolation="nearest"))


def _checked_mask(picture: Path, mask: Mask, classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """The class indices of a mask in its own size, uint8, (H, W)."""
    with opened(picture) as shown:
        size = (int(shown.width), int(shown.height))
    values = mask.draw(size)
    if size != values.shape[::-1]:
        raise InputError(
            f"the mask {mask.where} has {values.shape[1]} x {values.shape[0]} pixels, its picture {size[0]} x "
            f"{size[1]}; make the mask anew at the picture's size, or resize it with nearest neighbour"
        )
    unknown = sorted(set(np.unique(values).tolist()) - {*range(len(classes)), IGNORE})
    if unknown:
        raise InputError(
            f"the mask {mask.where} has class {unknown[0]}, but there are {len(classes)} classes, 0 to "
            f"{len(classes) - 1}; name it in classes.txt, or give such pixels another class or {IGNORE}, which is not "
            "counted"
        )
    return values


def class_pixels(masks: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Counts the pixels of each class, int64, (classes,); ignored ones are left out.

    Args:
        masks: uint8, (n, H, W).
        classes: Number of classes.
    """
    counts: AnyArray = np.bincount(masks.ravel(), minlength=IGNORE + 1)[:classes]
    return counts.astype(np.int64)
