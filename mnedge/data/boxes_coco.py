"""Boxes from COCO's JSON (https://cocodataset.org/#format-data): bbox is x, y, width, height in pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnedge.data._annotation import Annotated, Annotations, Marked, is_length
from mnedge.data.names import checked_name
from mnedge.data.splits import SPLIT_NAMES
from mnedge.errors import InputError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def find_coco(root: Path) -> list[Path]:
    """The JSON files below a folder that hold COCO's lists: beside the pictures, in annotations/, or one a split."""
    found = [path for folder in (root, *_folders(root)) for path in sorted(folder.glob("*.json"))]
    return [path for path in found if _looks_right(path)]


def read_coco(paths: Iterable[Path], root: Path) -> Annotations:
    """Reads COCO files; their names or folders may name splits (instances_train2017.json, valid/…).

    Raises:
        InputError: Broken JSON, a list or field is missing, or an annotation is of an unknown picture or category.
    """
    pictures: list[Annotated] = []
    used: set[str] = set()
    names: dict[int, str] = {}
    for path in paths:
        content = _load(path)
        own = _categories(path, content)
        if any(names.get(number, name) != name for number, name in own.items()):
            raise InputError(f"{path}: its categories are not those of the other files in {root}; give them the same")
        names |= own
        found = _pictures(path, root, content, own)
        used |= {marked.name for picture in found for marked in picture.objects}
        pictures += found
    # Exports carry categories that stand for groups and mark nothing.
    classes = tuple(dict.fromkeys(names[number] for number in sorted(names) if names[number] in used))
    return Annotations(root, pictures, classes, "its categories")


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _looks_right(path: Path) -> bool:
    if not path.is_file():
        return False
    # A broken file should be told of as broken, so its first bytes must do.
    with path.open("rb") as stream:
        start = stream.read(1 << 16)
    return any(word in start for word in (b'"annotations"', b'"images"', b'"categories"'))


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} cannot be read: {exc}") from exc
    except json.JSONDecodeError as exc:
        raise InputError(f"{path} line {exc.lineno} is no JSON: {exc.msg}; export it again") from exc
    except (ValueError, RecursionError) as exc:
        # Numbers of thousands of digits, lists within thousands of lists.
        raise InputError(f"{path} is no JSON that can be read: {exc}; export it again") from exc
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise InputError(f"{path} has no list {name!r}; COCO's format has images, annotations and categories")
    return dict(content)


def _field(path: Path, where: str, entry: Any, name: str, kind: type | tuple[type, ...]) -> Any:  # noqa: ANN401 - JSON
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{path}, {where}: {name} is {value!r}; see https://cocodataset.org/#format-data")
    return value


def _categories(path: Path, content: dict[str, Any]) -> dict[int, str]:
    found: dict[int, str] = {}
    for place, entry in enumerate(content["categories"]):
        number = _field(path, f"categories[{place}]", entry, "id", int)
        if number in found:
            raise InputError(f"{path}, categories[{place}]: id {number} is that of {found[number]!r} already")
        where = f"{path}, categories[{place}]"
        found[number] = checked_name(_field(path, f"categories[{place}]", entry, "name", str), where)
    return found


def _pictures(path: Path, root: Path, content: dict[str, Any], names: dict[int, str]) -> list[Annotated]:
    entries: dict[Any, tuple[int, Any]] = {}
    for place, entry in enumerate(content["images"]):
        number = _field(path, f"images[{place}]", entry, "id", (int, str))
        if number in entries:
            raise InputError(f"{path}, images[{place}]: id {number} is that of images[{entries[number][0]}] already")
        entries[number] = place, entry
    objects: dict[Any, list[Marked]] = {number: [] for number in entries}
    for place, entry in enumerate(content["annotations"]):
        where = f"annotations[{place}]"
        number = _field(path, where, entry, "image_id", (int, str))
        category = _field(path, where, entry, "category_id", int)
        if number not in objects:
            raise InputError(f"{path}, {where}: image_id {number} is none of its images")
        if category not in names:
            raise InputError(f"{path}, {where}: category_id {category} is none of {sorted(names)}")
        objects[number].append(_marked(path, where, entry, names[category]))
    split = _split(path, root)
    found = []
    for number, (place, entry) in entries.items():
        where = f"{path.name}, images[{place}]"
        file = _find(path, root, _field(path, f"images[{place}]", entry, "file_name", str))
        size = _size(path, f"images[{place}]", entry)
        found.append(Annotated(file, split, tuple(objects[number]), where, size))
    return found


def _size(path: Path, where: str, entry: dict[str, Any]) -> tuple[int, int] | None:
    """Width and height as the file claims them; None where it leaves one out, as 0 or null."""
    sides = []
    for name in ("width", "height"):
        value = entry.get(name) or 0
        if not _is_number(value) or not is_length(value) or value < 0:
            raise InputError(f"{path}, {where}: {name} is {value!r}; it is a number of pixels")
        sides.append(int(value))
    return (sides[0], sides[1]) if all(sides) else None


def _marked(path: Path, where: str, entry: dict[str, Any], name: str) -> Marked:
    box = entry.get("bbox")
    is_box = isinstance(box, list) and len(box) == 4 and all(_is_number(value) and is_length(value) for value in box)
    if not is_box:
        raise InputError(f"{path}, {where}: bbox is {box!r}; it is [x, y, width, height] in pixels")
    assert box is not None
    x, y, width, height = (float(value) for value in box)
    is_crowd = bool(entry.get("iscrowd", 0))
    return Marked(name, (x, y, x + width, y + height), f"{path.name}, {where} (id {entry.get('id')})", is_crowd)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _split(path: Path, root: Path) -> str:
    """The split that a file's name or folder names: instances_val2017.json, valid/_annotations.coco.json."""
    words = path.stem.lower().replace("-", "_").replace(".", "_").split("_")
    words += [part.lower() for part in path.relative_to(root).parts[:-1]]
    for word in words:
        if (plain := word.rstrip("0123456789")) in SPLIT_NAMES:
            return SPLIT_NAMES[plain]
    return ""


def _find(path: Path, root: Path, name: str) -> Path:
    """Beside the JSON, or where COCO's own folders have it: train2017/ for annotations/instances_train2017.json."""
    own = path.stem.rpartition("_")[2]
    places = [path.parent / name, path.parent / "images" / name, root / own / name, root / "images" / name]
    places += [root / "images" / own / name, root / name]
    return next((place for place in places if is_file(place)), places[0])
