"""Boxes from Edge Impulse's bounding_boxes.labels: x, y, width, height in pixels; one file in training/ and testing/.

See https://docs.edgeimpulse.com/docs/edge-impulse-studio/data-acquisition/uploader#bounding-boxes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mnedge.data.annotation import Annotated, Annotations, Marked, is_length
from mnedge.data.formats._format import Format
from mnedge.data.formats._json import decoded
from mnedge.data.names import with_class_list
from mnedge.data.splits import split_of
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from mnedge.data.listing import Listing

_NAME = "bounding_boxes.labels"


class _Object(msgspec.Struct):
    label: str
    x: float
    y: float
    width: float
    height: float


class _File(msgspec.Struct, rename="camel"):
    bounding_boxes: dict[str, list[_Object]]
    version: int = 1


def _recognise(listing: Listing) -> str:
    return next((listing.relative(path) for path in listing.named(_NAME)), "")


def _read(listing: Listing) -> Annotations:
    """Reads the files; training/ and testing/ name splits.

    Raises:
        InputError: Broken JSON, a field is missing, or a number is no place in a picture.
    """
    pictures, seen = [], set()
    files = listing.named(_NAME)
    for path in files:
        content = decoded(path, _File, "Edge Impulse's bounding boxes")
        for name, boxes in content.bounding_boxes.items():
            objects = []
            for place, box in enumerate(boxes):
                where = f"{name}, box {place}"
                sides = (box.x, box.y, box.width, box.height)
                if not box.label.strip() or not all(map(is_length, sides)):
                    raise InputError(f"{path}: {where} is {box}; it is a label with x, y, width and height in pixels")
                x, y, width, height = sides
                objects.append(Marked(box.label, (x, y, x + width, y + height), f"{path.name}, {where}"))
            file = listing.picture(name, [path.parent])
            seen.add(file)
            pictures.append(Annotated(file, split_of(listing.parts(path)), tuple(objects), f"{path.name}, {name}"))
    # A picture without a box stands in the file with an empty list.
    folders = {path.parent for path in files}
    rest = tuple(listing.relative(path) for path in listing.pictures if path.parent in folders and path not in seen)
    notes = (Finding("pictures are not named in bounding_boxes.labels and were left out", rest),) if rest else ()
    return with_class_list(Annotations(listing.root, pictures, notes=notes))


FORMAT = Format(
    title="Edge Impulse",
    layout="Edge Impulse's bounding_boxes.labels beside the pictures",
    recognise=_recognise,
    boxes=_read,
)
