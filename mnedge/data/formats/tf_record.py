"""Classes and boxes from TFRecord files of tf.train.Example, with the keys of TensorFlow's detection and slim.

Pictures stand in the records (image/encoded) and are unpacked into the cache. Classes are image/class/text or label,
boxes image/object/bbox/{xmin,ymin,xmax,ymax} as fractions with image/object/class/{text,label}.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from mnedge import cache
from mnedge.data.annotation import Annotated, Annotations, Marked
from mnedge.data.formats._example import Example, examples
from mnedge.data.formats._format import Format, Labelled
from mnedge.data.formats._json import decoded
from mnedge.data.names import MOST_CLASSES, checked_name, read_names
from mnedge.data.splits import split_of_words
from mnedge.errors import InputError
from mnedge.files import sha256, write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnedge.data.listing import Listing

_FILE = re.compile(r".*\.(tfrecords?|tfrec|records?)(-\d+-of-\d+)?", re.IGNORECASE)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp", b"RIFF": ".webp"}
_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_LIST = "records.json"


class _Object(msgspec.Struct):
    corners: tuple[float, float, float, float]
    text: str
    number: int


class _Record(msgspec.Struct):
    file: str
    split: str
    where: str
    text: str
    number: int
    has_boxes: bool
    objects: list[_Object]


def _files(listing: Listing) -> list[Path]:
    return [path for path in listing.files if _FILE.fullmatch(path.name)]


def _recognise(listing: Listing) -> str:
    found = _files(listing)
    return f"{len(found):,} TFRecord files" if found else ""


def _read_classes(listing: Listing) -> Labelled:
    """Reads records with a class each.

    Raises:
        InputError: A file is damaged, or a record has no picture or no class.
    """
    folder, records = _unpacked(listing)
    names = _names(listing)
    lacking = next((record for record in records if record.number < 0 and not record.text), None)
    if lacking is not None:
        what = "boxes; give --task detect" if lacking.has_boxes else "neither image/class/label nor image/class/text"
        raise InputError(f"{lacking.where} has {what}")
    told = [record.text or names.get(record.number, str(record.number)) for record in records]
    for record, name in zip(records, told, strict=True):
        checked_name(name, record.where)
    if all(record.number >= 0 for record in records) and not any(record.text for record in records):
        first = min([record.number for record in records], default=0) if 0 not in names else 0
        # Without any name, the numbers count from 0, or from 1 where 0 is the background of slim's labels.
        last = max([*names, *(record.number for record in records)])
        classes = tuple(names.get(number, str(number)) for number in range(min(first, 1), last + 1))
    else:
        classes = tuple(sorted(set(told)))
    if len(classes) < 2:
        raise InputError(f"{listing.given} has {len(classes)} class; a classifier needs at least two")
    indices = {name: index for index, name in enumerate(classes)}
    rows = [(folder / record.file, indices[name], record.split) for record, name in zip(records, told, strict=True)]
    return Labelled(folder, rows, classes, is_fixed=True)


def _read_boxes(listing: Listing) -> Annotations:
    """Reads records with boxes.

    Raises:
        InputError: A file is damaged, a record has no picture, or lists of unequal length.
    """
    folder, records = _unpacked(listing)
    names = _names(listing)
    if records and not any(record.has_boxes for record in records):
        raise InputError(f"{records[0].where} has no image/object/bbox; give --task classify if it has a class")
    pictures = [
        Annotated(
            folder / record.file,
            record.split,
            tuple(
                Marked(
                    told.text or names.get(told.number, str(told.number)),
                    told.corners,
                    f"{record.where}, object {place}",
                    is_relative=True,
                )
                for place, told in enumerate(record.objects)
            ),
            record.where,
        )
        for record in records
    ]
    classes = tuple(names[number] for number in sorted(names))
    used = {marked.name for picture in pictures for marked in picture.objects}
    return Annotations(folder, pictures, classes if used <= set(classes) else (), "its label map")


def _unpacked(listing: Listing) -> tuple[Path, list[_Record]]:
    files = _files(listing)
    key = {"files": [(path.name, sha256(path)) for path in files]}
    folder = cache.stage("tfrecord", key, lambda made: _unpack(files, made))
    return folder, decoded(folder / _LIST, list[_Record], "the cache's list of records")


def _unpack(files: Sequence[Path], folder: Path) -> None:
    records: list[_Record] = []
    for path in files:
        split = split_of_words(re.split(r"[-_.]", path.name)) or split_of_words([path.parent.name])
        for place, example in enumerate(examples(path)):
            where = f"{path.name}, record {place}"
            content = example.content("image/encoded", "image", "image_raw", "image/image_raw")
            if not content:
                raise InputError(
                    f"{path}, record {place}: no image/encoded; it has {', '.join(example.names()[:8]) or 'nothing'}"
                )
            suffix = next((own for start, own in _SUFFIXES.items() if content.startswith(start)), ".img")
            name = f"{len(records):07d}{suffix}"
            write_bytes(folder / name, content)
            records.append(_record(path, where, name, split, example))
    if not records:
        raise InputError(f"{files[0]} holds no records")
    write_bytes(folder / _LIST, msgspec.json.encode(records))


def _record(path: Path, where: str, name: str, split: str, example: Example) -> _Record:
    corners = [example.reals(f"image/object/bbox/{side}") for side in _CORNERS]
    texts, numbers = example.texts("image/object/class/text"), example.whole("image/object/class/label")
    counts = {len(values) for values in corners}
    count = max(counts)
    if len(counts) > 1 or any(values and len(values) != count for values in (texts, numbers)):
        raise InputError(
            f"{path}: {where} has lists of boxes and classes that are of different lengths; write it again"
        )
    if count and not texts and not numbers:
        raise InputError(f"{path}: {where} has boxes without image/object/class/text or label; write it again")
    objects = []
    for place in range(count):
        x1, y1, x2, y2 = (values[place] for values in corners)
        if not all(-0.01 <= value <= 1.01 for value in (x1, y1, x2, y2)):
            raise InputError(
                f"{path}: {where}, box {place} is {x1:g}, {y1:g}, {x2:g}, {y2:g}; they are fractions of the picture, 0 "
                "to 1: divide them by its width and height"
            )
        text, number = texts[place] if texts else "", numbers[place] if numbers else -1
        objects.append(_Object((x1, y1, x2, y2), checked_name(text, where), _number(path, where, number)))
    own_text, own_number = example.texts("image/class/text"), example.whole("image/class/label", "label")
    return _Record(
        file=name,
        split=split,
        where=where,
        text=own_text[0] if own_text else "",
        number=_number(path, where, own_number[0]) if own_number else -1,
        has_boxes=example.has("image/object/bbox/xmin"),
        objects=objects,
    )


def _number(path: Path, where: str, number: int) -> int:
    if not -1 <= number < MOST_CLASSES:
        raise InputError(f"{path}: {where}: class {number} is none; classes are numbered from 0 to {MOST_CLASSES - 1}")
    return number


def _names(listing: Listing) -> dict[int, str]:
    """Class names by number, from a label map (.pbtxt) or a list ("0:daisy", or a name a line)."""
    for path in (path for path in listing.around if path.suffix == ".pbtxt"):
        try:
            text = path.read_bytes()[: 1 << 24].decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as exc:
            raise InputError(f"{path} cannot be read: {exc}; it is UTF-8 text") from exc
        found: dict[int, str] = {}
        for item in _ITEM.findall(text):
            number = re.search(r"\bid\s*:\s*(\d{1,6})\b", item)
            name = re.search(r"\b(?:display_name|name)\s*:\s*(['\"])(.*?)\1", item)
            if number is None or name is None:
                raise InputError(f"{path}: `item {{{item.strip()[:60]}}}` has no id with a name")
            if int(number[1]) in found:
                raise InputError(f"{path}: id {number[1]} stands there twice; give each class its own")
            found[int(number[1])] = checked_name(name[2], str(path))
        return found
    for path in (path for path in listing.around if path.name in ("labels.txt", "label.labels.txt")):
        lines = read_names(path)
        numbered = [re.fullmatch(r"(\d{1,6}):(.*)", line) for line in lines]
        if all(numbered):
            return {int(line[1]): line[2].strip() for line in numbered if line is not None}
        return dict(enumerate(lines))
    return {}


FORMAT = Format(
    title="TFRecord",
    layout="TFRecord files of tf.train.Example (image/encoded with image/class/… or image/object/…)",
    recognise=_recognise,
    classes=_read_classes,
    boxes=_read_boxes,
)
