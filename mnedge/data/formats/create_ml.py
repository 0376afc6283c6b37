"""Boxes from Apple's Create ML JSON: coordinates are the box's centre, width and height in pixels.

See https://developer.apple.com/documentation/createml/building-an-object-detector-data-source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mnedge.data.annotation import Annotated, Annotations, Marked, is_length
from mnedge.data.formats._format import Format
from mnedge.data.formats._json import beginning, decoded
from mnedge.data.names import with_class_list
from mnedge.data.splits import split_of
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.listing import Listing


class _Coordinates(msgspec.Struct):
    x: float
    y: float
    width: float
    height: float


class _Object(msgspec.Struct):
    label: str
    coordinates: _Coordinates


class _Picture(msgspec.Struct):
    annotations: list[_Object]
    image: str = ""
    # As exporters of other tools call it.
    imagefilename: str = ""


def _files(listing: Listing) -> list[Path]:
    found = ((path, beginning(path)) for path in listing.with_suffix(".json"))
    return [path for path, start in found if start.startswith(b"[") and b'"coordinates"' in start]


def _recognise(listing: Listing) -> str:
    return next((listing.relative(path) for path in _files(listing)), "")


def _read(listing: Listing) -> Annotations:
    """Reads the files; folders may name splits.

    Raises:
        InputError: Broken JSON, a field is missing, or a number is no place in a picture.
    """
    pictures = []
    for path in _files(listing):
        for place, entry in enumerate(decoded(path, list[_Picture], "Create ML's JSON")):
            named = entry.image or entry.imagefilename
            if not named:
                raise InputError(f"{path}, [{place}]: it names no image; export it again")
            objects = []
            for number, told in enumerate(entry.annotations):
                where = f"{path.name}, [{place}].annotations[{number}]"
                box = told.coordinates
                sides = (box.x, box.y, box.width, box.height)
                if not told.label.strip() or not all(map(is_length, sides)):
                    raise InputError(
                        f"{path}, [{place}].annotations[{number}]: {told} is no label with a box in pixels"
                    )
                x, y, width, height = sides
                corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
                objects.append(Marked(told.label, corners, where))
            file = listing.picture(named, [path.parent, path.parent / "images"])
            pictures.append(Annotated(file, split_of(listing.parts(path)), tuple(objects), f"{path.name}, [{place}]"))
    return with_class_list(Annotations(listing.root, pictures))


FORMAT = Format(
    title="Create ML JSON",
    layout="Create ML's JSON",
    recognise=_recognise,
    boxes=_read,
)
