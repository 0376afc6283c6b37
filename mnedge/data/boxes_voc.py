"""Boxes from Pascal VOC's XML (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf): one file a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from mnedge.data._annotation import Annotated, Annotations, Marked, is_length
from mnedge.data.splits import SPLIT_NAMES
from mnedge.errors import InputError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from pathlib import Path

_PICTURE_FOLDERS = ("JPEGImages", "images", "")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".PNG")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MAX_BYTES = 10 << 20


def find_voc(root: Path) -> list[Path]:
    """The XML files of a folder: in Annotations/, beside the pictures, or in one folder a split."""
    return sorted(path for path in root.rglob("*.xml") if path.is_file() and not path.name.startswith("."))


def read_voc(paths: list[Path], root: Path) -> Annotations:
    """Reads VOC files; ImageSets/Main/{train,val}.txt or the folders may name splits.

    The devkit counts pixels from 1 and includes the last one; most tools that write its format count from 0. Where any
    corner of the data set is 0, its pixels are taken to count from 0 and to end before xmax and ymax.

    Raises:
        InputError: Broken XML, or a field is missing or no number.
    """
    lists = _lists(root)
    trees = [(path, _parse(path)) for path in paths]
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
        split = lists.get(path.stem, "") if lists else _split(path, root)
        if lists and not split:
            # The lists say what belongs to the data set.
            continue
        pictures.append(Annotated(_picture(path, tree, root), split, tuple(objects), path.name, _size(tree)))
    return Annotations(root, pictures)


def _parse(path: Path) -> ET.Element:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(content) > _MAX_BYTES:
        raise InputError(f"{path} has more than {_MAX_BYTES:,} bytes, too many for one picture's boxes")
    # Entities of their own are what makes XML explode; VOC has none.
    if b"<!ENTITY" in content:
        raise InputError(f"{path} defines entities, which VOC's format has not; export it again")
    try:
        tree = ET.fromstring(content)  # noqa: S314 - without entities there is nothing to expand
    except ET.ParseError as exc:
        raise InputError(f"{path} line {exc.position[0]} is no XML: {exc}; export it again") from exc
    except (ValueError, LookupError) as exc:
        raise InputError(f"{path} has an encoding that is not known: {exc}; export it as UTF-8") from exc
    if tree.tag != "annotation":
        raise InputError(f"{path} begins with <{tree.tag}>; VOC's format begins with <annotation>")
    return tree


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


def _lists(root: Path) -> dict[str, str]:
    """Splits by picture name, from ImageSets/Main or ImageSets; {} where there are no lists."""
    for folder in (root / "ImageSets" / "Main", root / "ImageSets"):
        found: dict[str, str] = {}
        for path in sorted(folder.glob("*.txt")) if folder.is_dir() else ():
            # trainval and the lists of single classes (cat_train.txt) say nothing more.
            if (split := SPLIT_NAMES.get(path.stem.lower())) is None:
                continue
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as exc:
                raise InputError(f"{path} cannot be read: {exc}; it is one picture's name a line") from exc
            for line in lines:
                if (name := line.strip()) and found.setdefault(name, split) != split:
                    raise InputError(f"{path}: {name} is in split {found[name]!r} already; a picture is in one split")
        if found:
            return found
    return {}


def _split(path: Path, root: Path) -> str:
    return next(
        (SPLIT_NAMES[part.lower()] for part in path.relative_to(root).parts[:-1] if part.lower() in SPLIT_NAMES), ""
    )


def _picture(path: Path, tree: ET.Element, root: Path) -> Path:
    named = (tree.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    folders = [path.parent, path.parent.parent, *(folder for top in (path.parent.parent, root) for folder in _in(top))]
    names = [named] if named else []
    names += [path.stem + suffix for suffix in _SUFFIXES]
    for name in names:
        for folder in folders:
            if is_file(folder / name):
                return folder / name
    return folders[0] / names[0]


def _in(top: Path) -> list[Path]:
    return [top / name for name in _PICTURE_FOLDERS]
