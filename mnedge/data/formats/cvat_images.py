"""Boxes, polygons and masks from CVAT's XML for images, 1.1 (https://docs.cvat.ai/docs/other/xml_format/)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnedge.data.annotation import Annotated, Annotations, Marked, Outline, Runs, bounds, is_length
from mnedge.data.formats._format import Format, Tagged
from mnedge.data.formats._json import beginning
from mnedge.data.formats._tags import Row, tagged
from mnedge.data.formats._xml import parsed
from mnedge.data.names import checked_name
from mnedge.data.outlines import ring_of_box
from mnedge.data.splits import split_of, split_of_words
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree import ElementTree as ET

    from mnedge.data.listing import Listing

_LARGEST_BYTES = 1 << 30
_CLOSED = ("box", "polygon", "mask", "ellipse")
_OPEN = ("points", "polyline", "cuboid", "skeleton", "tag")
# Types of label that stand for the whole picture.
_LABEL_TYPES = ("any", "tag")
_CORNERS = ("xtl", "ytl", "xbr", "ybr")
_ELLIPSE_CORNERS = 64


def _files(listing: Listing) -> list[Path]:
    return [path for path in listing.with_suffix(".xml") if b"<annotations" in beginning(path)]


def _recognise(listing: Listing) -> str:
    return next((listing.relative(path) for path in _files(listing)), "")


def _read(listing: Listing) -> Annotations:
    """Reads the files; a picture's subset or folder may name its split.

    Raises:
        InputError: Broken XML, a number is none, a shape of a label that is not listed, or the XML of a video.
    """
    names: dict[str, str] = {}
    pictures, left_out = [], []
    for path in _files(listing):
        tree = parsed(path, "annotations", "CVAT's format", _LARGEST_BYTES)
        if tree.find("track") is not None:
            raise InputError(
                f"{path} has the tracks of a video, without its frames; export the task as `CVAT for images 1.1` with "
                "`Save images`"
            )
        for element in tree.iterfind("meta//labels/label/name"):
            name = checked_name((element.text or "").strip(), f"{path}, meta")
            names.setdefault(name, path.name)
        for place, entry in enumerate(tree.iterfind("image")):
            where = f"{path.name}, image {entry.get('id') or place}"
            named = entry.get("name") or ""
            if not named:
                raise InputError(f"{path}, image {place}: it has no name; export it again")
            objects = []
            for number, shape in enumerate(_stacked(entry)):
                if shape.tag in _OPEN:
                    left_out.append(f"{where}: {shape.tag}")
                elif shape.tag in _CLOSED:
                    objects.append(_marked(path, f"{where}, {shape.tag} {number}", shape))
            file = listing.picture(named, [path.parent / "images", path.parent, listing.root])
            split = split_of_words([entry.get("subset") or ""]) or split_of(listing.parts(file))
            pictures.append(Annotated(file, split, tuple(objects), where, _size(entry)))
    notes = (Finding("shapes enclose nothing and were left out", tuple(left_out)),) if left_out else ()
    used = dict.fromkeys(marked.name for picture in pictures for marked in picture.objects)
    classes = tuple(name for name in names if name.lower() != "background" or name in used)
    return Annotations(listing.root, pictures, classes, next(iter(names.values()), ""), notes, is_stacked=True)


def _read_labels(listing: Listing) -> Tagged:
    """Reads the tags of whole pictures.

    Raises:
        InputError: Broken XML, or no picture has a tag.
    """
    rows: list[Row] = []
    classes: dict[str, None] = {}
    shapes, source = 0, listing.root
    for source in _files(listing):
        tree = parsed(source, "annotations", "CVAT's format", _LARGEST_BYTES)
        for label in tree.iterfind("meta//labels/label"):
            # Labels of shapes alone are no answer on whole pictures.
            if (label.findtext("type") or "any") in _LABEL_TYPES:
                classes[(label.findtext("name") or "").strip()] = None
        for place, entry in enumerate(tree.iterfind("image")):
            where = f"{source} image {entry.get('id') or place}"
            if not (named := entry.get("name") or ""):
                raise InputError(f"{source}, image {place}: it has no name; export it again")
            names = [(tag.get("label") or "").strip() for tag in entry.iterfind("tag")]
            if "" in names:
                raise InputError(f"{where}: a tag has no label; say what it is")
            shapes += sum(shape.tag in _CLOSED for shape in entry)
            file = listing.picture(named, [source.parent / "images", source.parent, listing.root])
            split = split_of_words([entry.get("subset") or ""]) or split_of(listing.parts(file))
            rows.append(Row(file, names, split, where))
    used = dict.fromkeys(name for row in rows for name in row.names)
    if not used:
        raise InputError(
            f"{source} has no tag of a whole picture, and {shapes:,} shapes; tag the pictures in CVAT, or give --task "
            "detect or segment for shapes"
        )
    # The default type of a label is "any": those that no picture is tagged with are of shapes, or of nothing.
    return tagged(source, listing.root, rows, [*(name for name in classes if name in used), *used])


def _stacked(entry: ET.Element) -> list[ET.Element]:
    """The shapes of a picture, the lowest first."""

    def depth(shape: ET.Element) -> int:
        text = shape.get("z_order") or "0"
        return int(text) if text.lstrip("-").isdecimal() and len(text) < 9 else 0

    return sorted(entry, key=depth)


def _marked(path: Path, where: str, shape: ET.Element) -> Marked:
    name = (shape.get("label") or "").strip()
    if not name:
        raise InputError(f"{path}: {where} has no label; say what it is")
    if shape.tag == "box":
        x1, y1, x2, y2 = (_number(path, where, shape, key) for key in _CORNERS)
        if turn := _number(shape=shape, path=path, where=where, key="rotation", default="0"):
            ring = _turned((x1, y1, x2, y2), turn)
            return Marked(name, bounds(ring), where, outline=Outline((ring,)))
        corners = (x1, y1, x2, y2)
        return Marked(name, corners, where, outline=Outline((ring_of_box(corners),)))
    if shape.tag == "ellipse":
        x, y, across, down = (_number(path, where, shape, key) for key in ("cx", "cy", "rx", "ry"))
        ring = tuple(
            value
            for step in range(_ELLIPSE_CORNERS)
            for angle in [2 * math.pi * step / _ELLIPSE_CORNERS]
            for value in (x + across * math.cos(angle), y + down * math.sin(angle))
        )
        return Marked(name, bounds(ring), where, outline=Outline((ring,)))
    if shape.tag == "mask":
        return _of_runs(path, where, shape, name)
    ring = _points(path, where, shape.get("points") or "")
    return Marked(name, bounds(ring), where, outline=Outline((ring,)))


def _turned(corners: tuple[float, float, float, float], degrees: float) -> tuple[float, ...]:
    x1, y1, x2, y2 = corners
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    ring = ring_of_box(corners)
    points = zip(ring[::2], ring[1::2], strict=True)
    return tuple(
        value
        for across, down in points
        for value in (x + (across - x) * cosine - (down - y) * sine, y + (across - x) * sine + (down - y) * cosine)
    )


def _points(path: Path, where: str, text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for point in text.split(";") for value in point.split(","))
    except ValueError:
        found = ()
    if len(found) < 6 or len(found) % 2 or not all(map(is_length, found)):
        raise InputError(f"{path}: {where} has points {text[:60]!r}; they are x,y;x,y;x,y… in pixels, three or more")
    return found


def _of_runs(path: Path, where: str, shape: ET.Element, name: str) -> Marked:
    left, top, width, height = (int(_number(path, where, shape, key)) for key in ("left", "top", "width", "height"))
    text = shape.get("rle") or ""
    words = [word.strip() for word in text.split(",")]
    counts = tuple(int(word) if word.isdecimal() and len(word) < 10 else -1 for word in words)
    if min(width, height) <= 0 or min(counts) < 0 or sum(counts) != width * height:
        raise InputError(
            f"{path}: {where} has runs of {sum(counts)} pixels, its size is {width} x {height}; export it again"
        )
    corners = (float(left), float(top), float(left + width), float(top + height))
    runs = Runs(counts, (width, height), (left, top), is_by_column=False)
    return Marked(name, corners, where, outline=Outline(runs=runs))


def _number(path: Path, where: str, shape: ET.Element, key: str, default: str = "") -> float:
    text = shape.get(key) or default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_length(value):
        raise InputError(f"{path}: {where}: {key} is {text[:40]!r}; it is a number of pixels")
    return value


def _size(entry: ET.Element) -> tuple[int, int] | None:
    sides = [entry.get(name) or "" for name in ("width", "height")]
    if not all(side.isdecimal() and len(side) < 9 and int(side) > 0 for side in sides):
        return None
    return int(sides[0]), int(sides[1])


FORMAT = Format(
    title="CVAT for images",
    layout="CVAT's annotations.xml (for images 1.1)",
    recognise=_recognise,
    boxes=_read,
    masks=_read,
    labels=_read_labels,
)
