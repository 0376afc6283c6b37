"""Pictures with boxes, in any format of `formats/` that has them: read, judged, and as fractions of their pictures."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data import formats
from mnedge.data.dataset import Found
from mnedge.data.draw import Draw
from mnedge.data.listed import dataset_of_files, look
from mnedge.data.names import checked_name
from mnedge.data.preprocess import WHOLE, opened
from mnedge.data.summary import announced
from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.data.annotation import Annotated, Annotations, Marked
    from mnedge.data.dataset import Dataset

_SHOWN = 3
# A box may stick out by rounding; more than this and it belongs to another picture.
_LEAST_INSIDE = 0.5
# Fractions are written with six decimals or more.
_ROUNDING = 2e-6


@dataclass(frozen=True, eq=False)
class Boxes:
    """The objects of a picture.

    Attributes:
        corners: float32, (n, 4): y1, x1, y2, x2 in fractions of the picture, 0..1.
        classes: int64, (n,).
        crowd: bool, (n,): regions that are neither learned nor missed.
        size: Width and height of the picture in pixels.
    """

    corners: NDArray[np.float32]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    size: tuple[int, int]


@dataclass(frozen=True)
class BoxFindings:
    """Findings of reading the boxes; every list may be empty.

    Attributes:
        cut: Boxes that stuck out of their picture and were cut at its edge.
        left_out: Objects and pictures that were left out, because --skip-broken allows it, and why.
        empty: Pictures without boxes; they teach what background is.
        crowd: Objects marked as crowds or as difficult, which are neither learned nor counted as missed.
    """

    cut: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    crowd: tuple[str, ...] = ()

    def told(self) -> tuple[Finding, ...]:
        """Returns the findings that exist, for logs and reports."""
        told = (
            (self.cut, "boxes stick out of their picture and were cut at its edge"),
            (self.left_out, "entries were left out"),
            (self.empty, "pictures have no boxes; they count as background"),
            (self.crowd, "objects are crowds or difficult; they are neither learned nor counted as missed"),
        )
        return tuple(Finding(what, found) for found, what in told if found)


def open_boxes(path: Path, *, skip_broken: bool = False, draw: Draw | None = None) -> Dataset:
    """Opens pictures with boxes; `Dataset.truths` gives the `Boxes` of a picture, whatever the resolution.

    Args:
        path: A folder, file or .zip of any format that has boxes.
        skip_broken: Leave out pictures and boxes that cannot be used instead of stopping.
        draw: Settings of the splits' draw, for data without its own.

    Raises:
        InputError: No such data, or something in it cannot be used; the message says what and where.
    """
    dataset, _ = read_boxes(path, skip_broken=skip_broken, draw=draw)
    return announced(dataset)


def read_boxes(path: Path, *, skip_broken: bool = False, draw: Draw | None = None) -> tuple[Dataset, BoxFindings]:
    """Result of `open_boxes`, with its findings."""
    draw = draw or Draw()
    listing = look(path, draw)
    entry, evidence = formats.choose(listing, "boxes")
    assert entry.boxes is not None, entry.title
    annotations = entry.boxes(listing)
    if not annotations.pictures:
        raise InputError(f"{path} lists no pictures; add some, or give another data set")
    classes = _classes(annotations)
    kept, findings = _judged(annotations, classes, skip_broken=skip_broken)
    if not any(boxes.classes.size for _, boxes in kept):
        raise InputError(f"{path}: none of its {len(kept)} pictures has a box; a detector needs some to learn from")
    truths = [boxes for _, boxes in kept]
    labels = [int(np.bincount(boxes.classes).argmax()) if boxes.classes.size else 0 for boxes in truths]
    dataset = dataset_of_files(
        str(path),
        annotations.root,
        [(picture.file, label, picture.split) for (picture, _), label in zip(kept, labels, strict=True)],
        classes,
        draw=draw,
        preprocessing=WHOLE,
        truths=lambda number, _resolution: truths[number],
        boxes_sha256=_boxes_sha256(truths),
    )
    own = dataset.preprocessing
    if own != replace(WHOLE, interpolation=own.interpolation, white=own.white):
        raise InputError(
            f"{annotations.root / 'dataset.yaml'} asks for a crop, but boxes are of whole pictures; "
            "detection takes fit: stretch and crop_fraction: 1.0"
        )
    every = np.concatenate([boxes.classes for boxes in truths])
    counts = np.bincount(every, minlength=len(classes)).tolist()
    return replace(
        dataset,
        skip_broken=skip_broken,
        fixed_classes=bool(annotations.classes),
        findings=(*annotations.notes, *dataset.findings, *findings.told()),
        found=Found(entry.title, evidence, tuple(counts), boxes=True, background=len(findings.empty)),
    ), findings


def _classes(annotations: Annotations) -> tuple[str, ...]:
    used = {marked.name: marked.where for picture in annotations.pictures for marked in picture.objects}
    for name, where in used.items():
        checked_name(name, where)
    if not annotations.classes:
        return tuple(sorted(used))
    for name, where in used.items():
        if name not in annotations.classes:
            what = f"class at {where} (allowed are those of {annotations.classes_from})"
            raise InputError.unknown(what, name, annotations.classes)
    return annotations.classes


def _judged(
    annotations: Annotations, classes: tuple[str, ...], *, skip_broken: bool
) -> tuple[list[tuple[Annotated, Boxes]], BoxFindings]:
    pictures, left_out = _present(annotations, skip_broken=skip_broken)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        # Only headers are read.
        sizes = list(pool.map(lambda picture: _size(picture, skip_broken=skip_broken), pictures))
    cut: list[str] = []
    kept = []
    for picture, size in zip(pictures, sizes, strict=True):
        if isinstance(size, InputError):
            left_out.append(str(size))
            continue
        usable = []
        for marked in (_in_pixels(marked, size) for marked in picture.objects):
            fault = _fault(marked, size)
            if fault and not skip_broken:
                raise InputError(
                    f"{marked.where}: {fault} (picture {picture.file.name}, {size[0]} x {size[1]}); "
                    "mend it, or pass --skip-broken to leave such boxes out"
                )
            if fault:
                left_out.append(f"{marked.where}: {fault}")
            else:
                usable.append(marked)
        cut += [marked.where for marked in usable if _share_inside(marked, size) < 1]
        kept.append((picture, _boxes(usable, size, classes)))
    findings = BoxFindings(
        cut=tuple(cut),
        left_out=tuple(left_out),
        empty=tuple(picture.file.name for picture, boxes in kept if not boxes.classes.size),
        crowd=tuple(marked.where for picture, _ in kept for marked in picture.objects if marked.is_crowd),
    )
    return kept, findings


def _present(annotations: Annotations, *, skip_broken: bool) -> tuple[list[Annotated], list[str]]:
    missing = [picture for picture in annotations.pictures if not is_file(picture.file)]
    named = [f"{picture.where}: {picture.file.name}" for picture in missing]
    if missing and (not skip_broken or len(missing) == len(annotations.pictures)):
        raise InputError(
            f"{annotations.root}: {len(missing)} of {len(annotations.pictures)} pictures are not there "
            f"({_listed(named)}); looked for below {annotations.root}, e.g. {missing[0].file}"
        )
    twice = [file for file, count in Counter(picture.file for picture in annotations.pictures).items() if count > 1]
    if twice:
        raise InputError(f"{annotations.root}: {twice[0].name} is annotated more than once; leave one entry a picture")
    gone = {picture.file for picture in missing}
    return [picture for picture in annotations.pictures if picture.file not in gone], [
        f"{name} is not there" for name in named
    ]


def _size(picture: Annotated, *, skip_broken: bool) -> tuple[int, int] | InputError:
    """Width and height of the upright picture; the error where it is left out."""
    try:
        return _checked_size(picture)
    except InputError as exc:
        if not skip_broken:
            raise
        return exc


def _checked_size(picture: Annotated) -> tuple[int, int]:
    with opened(picture.file) as image:
        size = (int(image.width), int(image.height))
    claimed = picture.size or size
    if claimed != size:
        turned = " (it is stored turned, with an EXIF orientation)" if claimed == size[::-1] else ""
        raise InputError(
            f"{picture.where} has boxes for {claimed[0]} x {claimed[1]} pixels, but {picture.file.name} "
            f"is {size[0]} x {size[1]}{turned}; export the boxes for the pictures as they are"
        )
    return size


def _in_pixels(marked: Marked, size: tuple[int, int]) -> Marked:
    if not marked.is_relative:
        return marked
    x1, y1, x2, y2 = marked.corners
    width, height = size
    # An edge on a whole pixel in the file's decimals should not stick out by their rounding.
    corners = (x1 * width, y1 * height, x2 * width, y2 * height)
    rounded = tuple(round(value) if abs(value - round(value)) < _ROUNDING * width else value for value in corners)
    return replace(marked, corners=(rounded[0], rounded[1], rounded[2], rounded[3]), is_relative=False)


def _fault(marked: Marked, size: tuple[int, int]) -> str:
    x1, y1, x2, y2 = marked.corners
    shown = f"{x1:g}, {y1:g}, {x2:g}, {y2:g}"
    if x2 < x1 or y2 < y1:
        return f"box {shown} has its corners swapped: x1 and y1 are the smaller ones"
    if x2 == x1 or y2 == y1:
        return f"box {shown} has no area"
    if _share_inside(marked, size) == 0:
        return f"box {shown} lies outside the picture"
    if _share_inside(marked, size) < _LEAST_INSIDE:
        return f"box {shown} lies mostly outside the picture"
    return ""


def _share_inside(marked: Marked, size: tuple[int, int]) -> float:
    x1, y1, x2, y2 = marked.corners
    across = min(x2, size[0]) - max(x1, 0.0)
    down = min(y2, size[1]) - max(y1, 0.0)
    return max(across, 0.0) * max(down, 0.0) / ((x2 - x1) * (y2 - y1))


def _boxes(objects: Sequence[Marked], size: tuple[int, int], classes: tuple[str, ...]) -> Boxes:
    corners = np.array([marked.corners for marked in objects], np.float64).reshape(-1, 4)
    fractions = np.clip(corners / np.array([*size, *size]), 0.0, 1.0)[:, [1, 0, 3, 2]]
    return Boxes(
        corners=fractions.astype(np.float32),
        classes=np.array([classes.index(marked.name) for marked in objects], np.int64),
        crowd=np.array([marked.is_crowd for marked in objects], bool),
        size=size,
    )


def _boxes_sha256(truths: Sequence[Boxes]) -> str:
    digest = hashlib.sha256()
    for boxes in truths:
        for part in (boxes.corners, boxes.classes, boxes.crowd):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(b"\n")
    return digest.hexdigest()


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join(names[:_SHOWN]) + rest
