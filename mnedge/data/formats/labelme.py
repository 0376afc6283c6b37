"""Polygons and boxes from labelme's JSON (https://github.com/wkentaro/labelme): one file a picture."""

from __future__ import annotations

import base64
import binascii
import io
import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from mnedge.data.annotation import Annotated, Annotations, Marked, Outline, Runs, bounds, is_length
from mnedge.data.formats._format import Format, Tagged
from mnedge.data.formats._json import beginning, decoded
from mnedge.data.formats._tags import Row, tagged
from mnedge.data.listing import PICTURES
from mnedge.data.names import with_class_list
from mnedge.data.outlines import ring_of_box
from mnedge.data.splits import split_of
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.listing import Listing

# The picture itself may stand in the file, in base64.
_LARGEST_BYTES = 512 << 20
_CIRCLE_CORNERS = 64
_MOST_MASK_PIXELS = 1 << 28
# Shapes that enclose nothing.
_OPEN = ("point", "points", "line", "linestrip")


class _Shape(msgspec.Struct):
    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = "polygon"
    mask: str | None = None


class _File(msgspec.Struct, rename="camel"):
    shapes: list[_Shape]
    flags: dict[str, bool] | None = None
    image_path: str = ""
    image_height: int | None = None
    image_width: int | None = None


def _files(listing: Listing) -> list[Path]:
    found = listing.with_suffix(".json")
    return [path for path in found if b'"shapes"' in (start := beginning(path)) and start.startswith(b"{")]


def _recognise(listing: Listing) -> str:
    found = _files(listing)
    return f"{len(found):,} labelme .json" if found else ""


def _read(listing: Listing) -> Annotations:
    """Reads the files; folders may name splits.

    Raises:
        InputError: Broken JSON, a field is missing, or a shape is of an unknown kind or has too few points.
    """
    pictures, left_out, seen = [], [], set()
    for path in _files(listing):
        content = decoded(path, _File, "labelme's JSON", _LARGEST_BYTES)
        objects = []
        for place, shape in enumerate(content.shapes):
            where = f"{path.name}, shapes[{place}]"
            if shape.shape_type in _OPEN:
                left_out.append(where)
                continue
            objects.append(_marked(path, place, shape, where))
        file = _picture(path, content, listing)
        seen.add(file)
        size = (content.image_width or 0, content.image_height or 0)
        pictures.append(
            Annotated(file, split_of(listing.parts(path)), tuple(objects), path.name, size if all(size) else None)
        )
    notes = [Finding("points and lines enclose nothing and were left out", tuple(left_out))] if left_out else []
    # A picture that nobody has opened in labelme is not background: nobody looked at it.
    unseen = tuple(listing.relative(path) for path in listing.pictures if path not in seen)
    if unseen:
        notes.append(Finding("pictures have no .json and were left out", unseen))
    return with_class_list(Annotations(listing.root, pictures, notes=tuple(notes), is_stacked=True))


def _read_labels(listing: Listing) -> Tagged:
    """Reads the flags of whole pictures (`labelme --flags`).

    Raises:
        InputError: Broken JSON, or no file has a flag.
    """
    rows: list[Row] = []
    classes: dict[str, None] = {}
    shapes = 0
    for path in _files(listing):
        content = decoded(path, _File, "labelme's JSON", _LARGEST_BYTES)
        flags = content.flags or {}
        classes |= dict.fromkeys(flags)
        shapes += len(content.shapes)
        names = [name for name, is_set in flags.items() if is_set]
        rows.append(Row(_picture(path, content, listing), names, split_of(listing.parts(path)), str(path)))
    if not classes:
        raise InputError(
            f"{listing.given}: no labelme file has flags of the whole picture, and {shapes:,} shapes; set flags "
            "(labelme --flags cat,dog), or give --task detect or segment for shapes"
        )
    seen = {row.picture for row in rows}
    unseen = tuple(listing.relative(path) for path in listing.pictures if path not in seen)
    notes = [Finding("pictures have no .json and were left out", unseen)] if unseen else []
    return tagged(listing.given, listing.root, rows, classes, notes)


def _picture(path: Path, content: _File, listing: Listing) -> Path:
    named = content.image_path.replace("\\", "/").rpartition("/")[2]
    places = [path.parent, path.parent.parent, path.parent.parent / "images", listing.root / "images"]
    found = listing.picture(content.image_path or named or path.stem, places)
    if found in listing.pictures:
        return found
    # A renamed picture is renamed with its file.
    beside = (path.with_suffix(suffix) for suffix in PICTURES)
    return next((file for file in beside if file in listing.pictures), found)


def _marked(path: Path, place: int, shape: _Shape, where: str) -> Marked:
    points = [value for point in shape.points for value in point]
    if not shape.label.strip():
        raise InputError(f"{path}, shapes[{place}]: its label is empty; say what it is")
    if not all(map(is_length, points)):
        raise InputError(f"{path}, shapes[{place}]: a point is no place in a picture, in pixels")
    kind, count = shape.shape_type or "polygon", len(shape.points)
    least = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
    if kind not in least:
        raise InputError(
            f"{path}, shapes[{place}]: shape_type {kind!r} is none of {', '.join((*least, *_OPEN))}; draw it as polygon"
        )
    if count < least[kind] or (kind in ("circle", "mask") and count != 2):
        raise InputError(f"{path}, shapes[{place}]: a {kind} has {least[kind]} points, not {count}; draw it again")
    if kind == "circle":
        points = _circle(points)
    corners = bounds(points)
    if kind == "mask":
        return _of_mask(path, place, shape, where)
    ring = ring_of_box(corners) if kind == "rectangle" else tuple(points)
    return Marked(shape.label, corners, where, outline=Outline((ring,)))


def _circle(points: list[float]) -> list[float]:
    """Corners of the circle around the first point through the second."""
    x, y, right, low = points
    radius = math.hypot(right - x, low - y)
    angles = np.linspace(0, 2 * math.pi, _CIRCLE_CORNERS, endpoint=False)
    corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
    return [float(value) for value in corners.ravel()]


def _of_mask(path: Path, place: int, shape: _Shape, where: str) -> Marked:
    """A mask is a PNG of the box between its two points."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(base64.b64decode(shape.mask or "", validate=True)), formats=["PNG"]) as image:
            if image.width * image.height > _MOST_MASK_PIXELS:
                raise InputError(
                    f"{path}, shapes[{place}]: its mask has {image.width} x {image.height} pixels, too many"
                )
            inside = np.asarray(image.convert("L")) > 0
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as exc:
        raise InputError(f"{path}, shapes[{place}]: its mask is no PNG in base64 ({exc}); export it again") from exc
    left, top = (round(value) for value in shape.points[0])
    height, width = inside.shape
    flat = inside.ravel().astype(np.int8)
    ends = np.flatnonzero(np.diff(flat, prepend=0, append=-1))
    counts = np.diff(ends, prepend=0).tolist()
    runs = Runs(tuple(counts), (width, height), (left, top), is_by_column=False)
    corners = (float(left), float(top), float(left + width), float(top + height))
    return Marked(shape.label, corners, where, outline=Outline(runs=runs))


FORMAT = Format(
    title="labelme JSON",
    layout="labelme's JSON files, one a picture",
    recognise=_recognise,
    boxes=_read,
    masks=_read,
    labels=_read_labels,
)
