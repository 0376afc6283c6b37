"""Masks drawn from outlines: polygons and run lengths of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.annotation import Runs, run_lengths
from mnedge.data.formats._format import Mask, Masked
from mnedge.data.names import checked_name
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.data.annotation import Annotated, Annotations, Marked, Outline

_BACKGROUND = "background"
_MOST_CLASSES = 255
# Share of the picture's sides by which a polygon's corners may lie outside before they are cut.
_OUTSIDE = 1.0


def masked(annotations: Annotations) -> Masked:
    """Pictures with masks of their objects: class 0 is background, or whatever class has that name.

    Raises:
        InputError: An object has no outline, or there are more classes than masks can tell apart.
    """
    boxed = [marked for picture in annotations.pictures for marked in picture.objects if marked.outline is None]
    count = sum(len(picture.objects) for picture in annotations.pictures)
    if boxed:
        raise InputError(
            f"{boxed[0].where}: it has a box and no outline, as {len(boxed)} of {count} objects have; --task segment "
            "takes polygons or masks, --task detect takes boxes"
        )
    used = sorted({marked.name for picture in annotations.pictures for marked in picture.objects})
    names = [name for name in annotations.classes or used if name.lower() != _BACKGROUND]
    classes = (_BACKGROUND, *(checked_name(name, str(annotations.root)) for name in names))
    unknown = [name for name in used if name.lower() != _BACKGROUND and name not in names]
    if unknown:
        raise InputError.unknown(f"class (allowed are those of {annotations.classes_from})", unknown[0], classes)
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise InputError(
            f"{annotations.root} has {len(classes) - 1} classes besides the background; a segmentation takes 1 to "
            f"{_MOST_CLASSES - 1}"
        )
    indices = {name: index for index, name in enumerate(classes)}
    rows = [
        (picture.file, _mask(picture, indices, is_stacked=annotations.is_stacked), picture.split)
        for picture in annotations.pictures
    ]
    return Masked(annotations.root, rows, classes, annotations.notes)


def _mask(picture: Annotated, indices: dict[str, int], *, is_stacked: bool) -> Mask:
    objects = picture.objects

    def draw(size: tuple[int, int]) -> NDArray[np.uint8]:
        claimed = picture.size or size
        if claimed != size:
            raise InputError(
                f"{picture.where} has outlines for {claimed[0]} x {claimed[1]} pixels, but {picture.file.name} is "
                f"{size[0]} x {size[1]}; export them for the pictures as they are"
            )
        regions = [(region_of(marked, size), indices.get(marked.name, 0)) for marked in objects]
        if not is_stacked:
            regions.sort(key=lambda entry: -int(entry[0].sum()))
        values = np.zeros(size[::-1], np.uint8)
        for region, index in regions:
            values[region] = index
        return values

    return Mask(draw, picture.where, told=repr([(marked.name, marked.outline) for marked in objects]))


def region_of(marked: Marked, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of an object, bool, (H, W).

    Args:
        marked: The object; it has an outline.
        size: Width and height of the picture, pixels.

    Raises:
        InputError: Its run lengths are of a picture of another size.
    """
    assert marked.outline is not None, marked.where
    if marked.outline.runs is not None:
        return _of_runs(marked, marked.outline, size)
    from pycocotools import mask as coco

    width, height = size
    scale = (width, height) if marked.is_relative else (1, 1)
    region = np.zeros((height, width), bool)
    for ring in marked.outline.rings:
        points = np.array(ring, np.float64).reshape(-1, 2) * scale
        points = np.clip(points, -_OUTSIDE * np.array(size), (1 + _OUTSIDE) * np.array(size))
        made = coco.frPyObjects([points.ravel().tolist()], height, width)[0]
        region |= _filled(Runs(tuple(run_lengths(made["counts"].decode())), size))
    return region


def _of_runs(marked: Marked, outline: Outline, size: tuple[int, int]) -> NDArray[np.bool_]:
    runs = outline.runs
    assert runs is not None
    (width, height), (left, top) = runs.size, runs.start
    if not (left >= 0 and left + width <= size[0] and top >= 0 and top + height <= size[1]):
        raise InputError(
            f"{marked.where}: its mask is {width} x {height} pixels at {left}, {top}, the picture {size[0]} x "
            f"{size[1]}; export it for the picture as it is"
        )
    region = np.zeros(size[::-1], bool)
    region[top : top + height, left : left + width] = _filled(runs)
    return region


def _filled(runs: Runs) -> NDArray[np.bool_]:
    """The region of run lengths that add up to its size, bool, (H, W)."""
    width, height = runs.size
    flat = np.repeat(np.arange(len(runs.counts)) % 2 == 1, np.array(runs.counts, np.int64))
    return flat.reshape(width, height).T if runs.is_by_column else flat.reshape(height, width)


def ring_of_box(corners: Sequence[float]) -> tuple[float, ...]:
    """The polygon of a box x1, y1, x2, y2."""
    x1, y1, x2, y2 = corners
    return (x1, y1, x2, y1, x2, y2, x1, y2)
