"""Boxes from Pascal VOC's XML (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf): one file a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mnedge.data.annotation import Annotated, Annotations, Marked, is_length
from mnedge.data.formats._format import Format
from mnedge.data.formats._json import beginning
from mnedge.data.formats._xml import parsed
from mnedge.data.names import with_class_list
from mnedge.data.splits import read_split_lists, split_of
from mnedge.errors import InputError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree import ElementTree as ET

    from mnedge.data.listing import Listing

_PICTURE_FOLDERS = ("JPEGImages", "images", "")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".PNG")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MAX_BYTES = 10 << 20


def _files(listing: Listing) -> list[Path]:
    """The XML files: in Annotations/, beside the pictures, or in one folder a split; CVAT's begin with annotations."""
    return [path for path in listing.with_suffix(".xml") if b"<annotations" not in beginning(path)]


def _recognise(listing: Listing) -> str:
    return next((listing.relative(path) for path in _files(listing)), "")


def _read(listing: Listing) -> Annotations:
    """Reads VOC files; ImageSets/Main/{train,val,test}.txt or the folders may name splits.

    The devkit counts pixels from 1 and includes the last one; most tools that write its format count from 0. Where any
    corner of the data set is 0, its pixels are taken to count from 0 and to end before xmax and ymax.

    Raises:
        InputError: Broken XML, or a field is missing or no number.
    """
    lists = read_split_lists(listing.root, ("Main", ""))
    trees = [(path, parsed(path, "annotation", "VOC's format", _MAX_BYTES)) for path in _files(listing)]
    corners = [(path, tree, [_corners(path, *item) for item in _objects(tree)]) for path, tree in trees]
    from_one = all(min(box[:2]) >= 1 for _, _, boxes in corners for box in boxes)
    pictures = []
    for path, tree, boxes in corners:
        objects = []
        for (place, item), (x1, y1, x2, y2) in zip(_objects(tree), boxes, strict=True):
            name = (item.findtext("name") or "").strip()
            where = f"{path.name}, object {place}"
            if not name:
                raise InputError(f"{path}, object {place}: it has no name; say what it is")
            start = (x1 - 1, y1 - 1) if from_one else (x1, y1)
            is_difficult = (item.findtext("difficult") or "0").strip() == "1"
            objects.append(Marked(name, (*start, x2, y2), where, is_difficult))
        split = lists.get(path.stem, "") if lists else split_of(listing.parts(path))
        if lists and not split:
            # The lists say what belongs to the data set.
            continue
        picture = _picture(path, tree, listing)
        pictures.append(Annotated(picture, split, tuple(objects), path.name, _size(tree)))
    return with_class_list(Annotations(listing.root, pictures))


def _objects(tree: ET.Element) -> list[tuple[int, ET.Element]]:
    return list(enumerate(tree.findall("object"), start=1))


def _corners(path: Path, place: int, item: ET.Element) -> tuple[float, float, float, float]:
    box = item.find("bndbox")
    if box is None:
        raise InputError(f"{path}, object {place}: it has no <bndbox>; needed are {', '.join(_CORNERS)}")
    values = []
    for name in _CORNERS:
        text = box.findtext(name)
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not is_length(value):
            raise InputError(f"{path}, object {place}: {name} is {text!r}; it is a number of pixels")
        values.append(value)
    return values[0], values[1], values[2], values[3]


def _size(tree: ET.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(float(tree.findtext(f"size/{name}") or 0)) for name in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    # Some tools write 0 where they do not know.
    return (width, height) if width > 0 and height > 0 else None


def _picture(path: Path, tree: ET.Element, listing: Listing) -> Path:
    named = (tree.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    above = path.parent.parent
    folders = [path.parent, above, *(top / name for top in (above, listing.root) for name in _PICTURE_FOLDERS)]
    # Some tools leave the suffix out, or keep that of another time.
    names = [named] if named else []
    names += [path.stem + suffix for suffix in _SUFFIXES]
    for name in names:
        for folder in folders:
            if is_file(folder / name):
                return folder / name
    return listing.picture(names[0], folders)


FORMAT = Format(
    title="Pascal VOC XML",
    layout="a folder with Pascal VOC's XML files",
    recognise=_recognise,
    boxes=_read,
)
