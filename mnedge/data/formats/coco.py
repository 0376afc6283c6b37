"""Boxes and outlines from COCO's JSON (https://cocodataset.org/#format-data).

Roboflow, CVAT and Label Studio write it, too: bbox is x, y, width, height in pixels, segmentation are polygons or run
lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mnedge.data.annotation import Annotated, Annotations, Marked, Outline, Runs, bounds, is_length, run_lengths
from mnedge.data.formats._format import Format
from mnedge.data.formats._json import beginning, decoded
from mnedge.data.names import checked_name
from mnedge.data.splits import split_of, split_of_words
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnedge.data.listing import Listing

_SEE = "see https://cocodataset.org/#format-data"


class _Picture(msgspec.Struct):
    id: int | str
    file_name: str
    width: float | None = None
    height: float | None = None


class _Category(msgspec.Struct):
    id: int
    name: str
    supercategory: str | None = None


class _Runs(msgspec.Struct):
    counts: list[int] | str
    size: tuple[int, int]


class _Object(msgspec.Struct):
    image_id: int | str
    category_id: int
    id: int | str | None = None
    bbox: list[float] | None = None
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: int | bool | None = None


class _File(msgspec.Struct):
    images: list[_Picture]
    annotations: list[_Object]
    categories: list[_Category]


def _files(listing: Listing) -> list[Path]:
    found = listing.with_suffix(".json")
    return [path for path in found if _looks_right(beginning(path)) or not listing.is_folder]


def _looks_right(start: bytes) -> bool:
    # createML's JSON is a list; labelme's and notes.json of Label Studio have no images.
    return start.startswith(b"{") and b'"shapes"' not in start and any(
        word in start for word in (b'"annotations"', b'"images"')
    )  # fmt: skip


def _recognise(listing: Listing) -> str:
    found = [path for path in listing.with_suffix(".json") if _looks_right(beginning(path))]
    return listing.relative(found[0]) if found else ""


def _read(listing: Listing) -> Annotations:
    """Reads COCO files; their names or folders may name splits (instances_train2017.json, valid/…).

    Raises:
        InputError: Broken JSON, a list or field is missing, or an annotation is of an unknown picture or category.
    """
    pictures: list[Annotated] = []
    used: set[str] = set()
    names: dict[int, str] = {}
    groups: set[str] = set()
    for path in _files(listing):
        content = decoded(path, _File, "COCO's JSON")
        own = _categories(path, content.categories)
        if any(names.get(number, name) != name for number, name in own.items()):
            raise InputError(
                f"{path}: its categories are not those of the other files in {listing.root}; give them the same"
            )
        names |= own
        groups |= {category.supercategory or "" for category in content.categories}
        found = _pictures(path, listing, content, own)
        used |= {marked.name for picture in found for marked in picture.objects}
        pictures += found
    # Roboflow adds a category that stands for all others and marks nothing. Any other keeps its place: a model's
    # outputs are numbered by it.
    ordered = dict.fromkeys(names[number] for number in sorted(names))
    classes = tuple(name for name in ordered if name in used or name not in groups)
    unused = tuple(name for name in classes if name not in used)
    notes = (Finding("categories mark nothing; they keep their places", unused),) if unused else ()
    return Annotations(listing.root, pictures, classes, "its categories", notes)


def _categories(path: Path, categories: Sequence[_Category]) -> dict[int, str]:
    found: dict[int, str] = {}
    for place, entry in enumerate(categories):
        where = f"{path}, categories[{place}]"
        if entry.id in found:
            raise InputError(f"{where}: id {entry.id} is that of {found[entry.id]!r} already")
        if not entry.name.strip():
            raise InputError(f"{where}: its name is empty; give it one")
        found[entry.id] = checked_name(entry.name, where)
    return found


def _pictures(path: Path, listing: Listing, content: _File, names: dict[int, str]) -> list[Annotated]:
    entries: dict[int | str, tuple[int, _Picture]] = {}
    for place, picture in enumerate(content.images):
        if picture.id in entries:
            raise InputError(
                f"{path}, images[{place}]: id {picture.id} is that of images[{entries[picture.id][0]}] already"
            )
        entries[picture.id] = place, picture
    objects: dict[int | str, list[Marked]] = {number: [] for number in entries}
    for place, entry in enumerate(content.annotations):
        where = f"annotations[{place}]"
        if entry.image_id not in objects:
            raise InputError(f"{path}, {where}: image_id {entry.image_id} is none of its images")
        if entry.category_id not in names:
            raise InputError(f"{path}, {where}: category_id {entry.category_id} is none of {sorted(names)}")
        objects[entry.image_id].append(_marked(path, where, entry, names[entry.category_id]))
    split = _split(path, listing)
    places = _places(path, listing.root)
    found = []
    for number, (place, picture) in entries.items():
        where = f"images[{place}]"
        if not picture.file_name:
            raise InputError(f"{path}, {where}: file_name is empty; {_SEE}")
        file = listing.picture(picture.file_name, places)
        size = _size(path, where, picture)
        found.append(Annotated(file, split, tuple(objects[number]), f"{path.name}, {where}", size))
    return found


def _size(path: Path, where: str, entry: _Picture) -> tuple[int, int] | None:
    """Width and height as the file claims them; None where it leaves one out, as 0 or null."""
    width, height = (value or 0 for value in (entry.width, entry.height))
    for name, value in (("width", width), ("height", height)):
        if not is_length(value) or value < 0:
            raise InputError(f"{path}, {where}: {name} is {value!r}; it is a number of pixels")
    return (int(width), int(height)) if int(width) and int(height) else None


def _marked(path: Path, where: str, entry: _Object, name: str) -> Marked:
    outline = None if entry.segmentation is None else _outline(path, where, entry.segmentation)
    box = entry.bbox
    # Some tools leave the box of an outline to the reader.
    if not box and outline is not None and outline.rings:
        x1, y1, x2, y2 = bounds([value for ring in outline.rings for value in ring])
        box = [x1, y1, x2 - x1, y2 - y1]
    if box is None or len(box) != 4 or not all(map(is_length, box)):
        raise InputError(f"{path}, {where}: bbox is {box!r}; it is [x, y, width, height] in pixels")
    x, y, width, height = box
    told = f"{path.name}, {where} (id {entry.id})"
    return Marked(name, (x, y, x + width, y + height), told, bool(entry.iscrowd), outline=outline)


def _outline(path: Path, where: str, told: list[list[float]] | _Runs) -> Outline | None:
    if isinstance(told, _Runs):
        height, width = told.size
        counts = run_lengths(told.counts) if isinstance(told.counts, str) else told.counts
        if min(height, width) <= 0 or min(counts, default=0) < 0 or sum(counts) != height * width:
            raise InputError(
                f"{path}, {where}: the run lengths add up to {sum(counts)} pixels, their size is {width} x {height}; "
                "export it again"
            )
        return Outline(runs=Runs(tuple(counts), (width, height)))
    for ring in told:
        if len(ring) < 6 or len(ring) % 2 or not all(map(is_length, ring)):
            raise InputError(
                f"{path}, {where}: a polygon of segmentation has {len(ring)} numbers; it is x, y, x, y, … of three "
                "points or more, in pixels"
            )
    return Outline(tuple(map(tuple, told))) if told else None


def _split(path: Path, listing: Listing) -> str:
    """The split that a file's name or folder names: instances_val2017.json, valid/_annotations.coco.json."""
    words = path.stem.replace("-", "_").replace(".", "_").split("_")
    return split_of_words(words) or split_of(listing.parts(path))


def _places(path: Path, root: Path) -> list[Path]:
    """Beside the JSON, or where COCO's own folders have it: train2017/ for annotations/instances_train2017.json."""
    own = path.stem.rpartition("_")[2]
    beside, above = path.parent, path.parent.parent
    return [beside, beside / "images", root / own, root / "images", root / "images" / own, root, above / "images"]


FORMAT = Format(
    title="COCO JSON",
    layout="a COCO JSON (or a folder with it)",
    recognise=_recognise,
    boxes=_read,
    masks=_read,
)
