"""Boxes and polygons from YOLO's .txt files (https://docs.ultralytics.com/datasets/): one a picture, a line an object.

A line is a class index and the box's centre, width and height, or the corners of a polygon, in fractions of the
picture. Classes and folders stand in a data.yaml (Ultralytics, Roboflow), classes in a classes.txt (LabelImg, Label
Studio) or a .names file (Darknet). Labels lie beside the pictures, or in labels/ beside images/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import yaml

from mnedge.data.annotation import Annotated, Annotations, Marked, Outline, bounds
from mnedge.data.formats._format import Format
from mnedge.data.names import MOST_CLASSES, checked_name, read_names
from mnedge.data.splits import SPOKEN, split_of
from mnedge.errors import InputError
from mnedge.foreign import is_file, is_folder, open_regular
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mnedge.data.listing import Listing

_LARGEST_BYTES = 16 << 20
_LARGEST_YAML = 1 << 20
# Files of text that are no labels.
_OTHERS = re.compile(
    r"(readme|classes|labels|notes|train|val|valid|test|trainval|license|predefined_classes)", re.IGNORECASE
)
_OBJECT = re.compile(rb"\s*\d+(\.0*)?(\s+[-+0-9.eE]+){4,}\s*(\r?\n|$)")
_LISTS = ("classes.txt", "predefined_classes.txt", "obj.names", "_darknet.labels")
_SPLITS = {"train": "train", "val": "eval", "test": "test"}
# Some tools write 1.0000001.
_ROUNDING = 1e-3


class _Yaml(msgspec.Struct):
    names: list[str | int | float | bool] | dict[int, str | int | float | bool] | None = None
    nc: int | None = None
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None


@dataclass(frozen=True)
class _Set:
    """Content of a data.yaml or a list of names."""

    names: tuple[str, ...] = ()
    named_in: str = ""
    # Folders or lists of pictures by split, as the file has them.
    places: Mapping[str, Sequence[str]] | None = None
    base: Path | None = None


def _recognise(listing: Listing) -> str:
    described = _yamls(listing)
    found = [path for path in listing.with_suffix(".txt") if not _OTHERS.fullmatch(path.stem) and _is_label(path)]
    if found and (described or any(_picture_of(path, listing) is not None for path in found)):
        return f"{len(found):,} YOLO .txt"
    return listing.relative(described[0]) if described else ""


def _yamls(listing: Listing) -> list[Path]:
    return [
        path for path in listing.with_suffix(".yaml", ".yml") if re.search(rb"^names\s*:", _start(path), re.MULTILINE)
    ]


def _start(path: Path) -> bytes:
    try:
        with open_regular(path) as stream:
            return stream.read(_LARGEST_YAML)
    except OSError:
        return b""


def _is_label(path: Path) -> bool:
    with open_regular(path) as stream:
        return _OBJECT.match(stream.read(1 << 12)) is not None


def _read(listing: Listing) -> Annotations:
    """Reads the files of all pictures; a picture without file, or with an empty one, is background.

    Raises:
        InputError: A line is no object, a class has no name, or a file cannot be read.
    """
    told = _described(listing)
    pictures: list[Annotated] = []
    notes: list[Finding] = []
    highest = -1
    for file, split in _pictures(listing, told, notes):
        label = _label_of(file)
        objects: list[Marked] = []
        if label is not None:
            objects, own = _objects(label, told.names)
            highest = max(highest, own)
        where = file.name if label is None else label.name
        pictures.append(Annotated(file, split, tuple(objects), where))
    labelled = {_label_of(picture.file) for picture in pictures}
    lone = [
        listing.relative(path)
        for path in (listing.with_suffix(".txt") if told.places is None else ())
        if not _OTHERS.fullmatch(path.stem) and path not in labelled and _is_label(path)
    ]
    if lone:
        notes.append(Finding("files of labels have no picture and were left out", tuple(lone)))
    names = told.names or tuple(str(index) for index in range(highest + 1))
    if not told.names:
        notes.append(Finding("classes have no names; put a classes.txt there, one a line", names))
    return Annotations(listing.root, pictures, names, told.named_in or "the indices in use", tuple(notes))


def _described(listing: Listing) -> _Set:
    described = _yamls(listing)
    if len(described) > 1:
        raise InputError(
            f"{listing.given} holds {len(described)} files of classes "
            f"({', '.join(map(listing.relative, described[:3]))}); give the right one itself"
        )
    if described:
        return _read_yaml(described[0])
    for path in (path for name in _LISTS for path in listing.around if path.name == name):
        names = read_names(path)
        if len(set(names)) < len(names):
            raise InputError(f"{path} names a class twice; it is one class name a line")
        return _Set(tuple(names), path.name)
    return _Set()


def _read_yaml(path: Path) -> _Set:
    content = _start(path)
    try:
        found = msgspec.convert(yaml.safe_load(content.decode("utf-8-sig")), _Yaml, strict=False)
    except UnicodeDecodeError as exc:
        raise InputError(f"{path} cannot be read: {exc}; it is UTF-8 text") from exc
    except yaml.YAMLError as exc:
        raise InputError(f"{path} is not YAML: {' '.join(str(exc).split())}") from exc
    except msgspec.ValidationError as exc:
        raise InputError(
            f"{path}: {exc}; see https://docs.ultralytics.com/datasets/detect/#dataset-yaml-format"
        ) from exc
    except (ValueError, RecursionError, OverflowError, AttributeError, TypeError) as exc:
        raise InputError(f"{path} is not YAML that can be read: {exc}") from exc
    listed = dict(enumerate(found.names)) if isinstance(found.names, list) else found.names or {}
    if not listed or sorted(listed) != list(range(len(listed))):
        raise InputError(
            f"{path}: names are numbered {sorted(listed)[:8]}; they are a list, or run from 0 without a gap"
        )
    names = tuple(checked_name(str(listed[index]), f"{path}, names") for index in range(len(listed)))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}, names: {twice[0]!r} stands there twice; give each class its own name")
    if found.nc is not None and found.nc != len(names):
        raise InputError(f"{path}: nc is {found.nc}, but it names {len(names)} classes; make them agree")
    places = {
        split: [told] if isinstance(told, str) else told
        for key, split in _SPLITS.items()
        if (told := {"train": found.train, "val": found.val, "test": found.test}[key])
    }
    base = path.parent / found.path if found.path else path.parent
    return _Set(names, path.name, places or None, base if is_folder(base) else path.parent)


def _pictures(listing: Listing, told: _Set, notes: list[Finding]) -> list[tuple[Path, str]]:
    """The pictures with their splits."""
    if told.places is None or told.base is None:
        return [(path, split_of(listing.parts(path))) for path in listing.pictures]
    found: dict[Path, str] = {}
    missing: list[str] = []
    for split, places in told.places.items():
        for place in places:
            own = _at(place, told.base, listing)
            if own is None:
                missing.append(f"{split}: {place}")
            for path in own or ():
                known = found.setdefault(path, split)
                if known != split:
                    raise InputError(
                        f"{told.named_in}: {listing.relative(path)} is in {SPOKEN[known]} and in {SPOKEN[split]}; a "
                        "picture is in one split: give each its own folder, or leave one of them out"
                    )
    if missing and not found:
        raise InputError(
            f"{told.base / told.named_in}: none of its folders is there ({'; '.join(missing)}); they are relative to "
            f"{told.base}"
        )
    if missing:
        notes.append(Finding("folders of the list are not there", tuple(missing)))
    rest = [path for path in listing.pictures if path not in found and _label_of(path) is not None]
    if rest:
        notes.append(
            Finding(
                "labelled pictures are in no folder of the list and were left out", tuple(map(listing.relative, rest))
            )
        )
    return sorted(found.items())


def _at(place: str, base: Path, listing: Listing) -> list[Path] | None:
    """Returns the pictures of a folder or list that a data.yaml names; None if there is none."""
    # Roboflow's "../train/images" is meant from where the data.yaml lies.
    plain = place.replace("\\", "/")
    inner = re.sub(r"^(\.\./)+", "", plain)
    for top in (base / plain, base / inner, listing.root / inner):
        if is_folder(top):
            real = top.resolve()
            return [path for path in listing.pictures if path.resolve().is_relative_to(real)]
        if top.suffix == ".txt" and is_file(top):
            try:
                lines = top.read_text(encoding="utf-8-sig").split("\n")
            except (OSError, UnicodeDecodeError) as exc:
                raise InputError(f"{top} cannot be read: {exc}; it is one picture a line") from exc
            named = [line.strip() for line in lines if line.strip()]
            return [listing.picture(name.removeprefix("./"), [top.parent, base]) for name in named]
    return None


def _label_of(picture: Path) -> Path | None:
    """The .txt of a picture: beside it, or in labels/ where it lies in images/."""
    places = [picture.with_suffix(".txt")]
    parts = picture.parts
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        places.append(type(picture)(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt"))
    return next((place for place in places if place.is_file()), None)


def _picture_of(label: Path, listing: Listing) -> Path | None:
    folders = [label.parent]
    parts = label.parts
    if "labels" in parts:
        last = len(parts) - 1 - parts[::-1].index("labels")
        folders.append(type(label)(*parts[:last], "images", *parts[last + 1 :]).parent)
    return next(
        (listing.by_stem[key] for key in ((folder, label.stem) for folder in folders) if key in listing.by_stem), None
    )


def _objects(path: Path, names: Sequence[str]) -> tuple[list[Marked], int]:
    """The objects of a file, and the highest class index."""
    try:
        with open_regular(path) as stream:
            content = stream.read(_LARGEST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} cannot be read: {exc}; it is lines of numbers") from exc
    if len(content) > _LARGEST_BYTES:
        raise InputError(f"{path} has more than {_LARGEST_BYTES:,} bytes, too many for one picture's objects")
    found, highest = [], -1
    for line, row in enumerate(text.split("\n"), start=1):
        if words := row.split():
            marked, index = _object(path, line, words, names)
            found.append(marked)
            highest = max(highest, index)
    return found, highest


def _object(path: Path, line: int, words: Sequence[str], names: Sequence[str]) -> tuple[Marked, int]:
    where = f"{path.name} line {line}"
    try:
        first, *numbers = (float(word) for word in words)
    except ValueError as exc:
        raise InputError(f"{path} line {line}: {exc}; it is a class index and numbers, separated by spaces") from exc
    if not 0 <= first < MOST_CLASSES or first != int(first):
        raise InputError(f"{path} line {line}: the class is {words[0][:40]!r}; it is a whole number from 0")
    index = int(first)
    if names and index >= len(names):
        raise InputError(
            f"{path} line {line}: class {index} has no name; there are {len(names)} classes, 0 to {len(names) - 1}. "
            "Classes are numbered from 0: mend the labels, or name all classes"
        )
    if not all(-_ROUNDING <= number <= 1 + _ROUNDING for number in numbers):
        raise InputError(
            f"{path} line {line}: {' '.join(words[1:5])[:60]} are no fractions of the picture; YOLO's numbers lie "
            "between 0 and 1: divide x by the picture's width and y by its height"
        )
    name = names[index] if names else str(index)
    if len(numbers) == 4:
        x, y, width, height = numbers
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return Marked(name, corners, where, is_relative=True), index
    if len(numbers) < 6 or len(numbers) % 2:
        raise InputError(
            f"{path} line {line}: {len(numbers)} numbers follow the class; a box has 4 (centre, width, height), a "
            "polygon an even number from 6 on"
        )
    ring = tuple(numbers)
    return Marked(name, bounds(ring), where, is_relative=True, outline=Outline((ring,))), index


FORMAT = Format(
    title="YOLO",
    layout="YOLO .txt files with a data.yaml or classes.txt (pictures beside them, or images/ beside labels/)",
    recognise=_recognise,
    boxes=_read,
    masks=_read,
)
