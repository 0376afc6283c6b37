"""Masks in a folder of their own beside the pictures.

They are PNG files whose pixels are class indices, or 0 and 255, or colours of a palette file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.data.formats._format import Format, Mask, Masked
from mnedge.data.formats._pixels import Encoding, encoding_of, mask_of_file, read_palette
from mnedge.data.formats._table import read_table
from mnedge.data.names import read_names
from mnedge.data.splits import SPLIT_NAMES, split_name
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.listing import Listing

_IMAGES, _MASKS = ("images", "imgs", "image", "img"), ("masks", "mask")
# Palette files: name, then red, green and blue, in one line or in columns.
_PALETTES = (
    "class_dict.csv", "class_dict_seg.csv", "palette.csv", "palette.txt", "labelmap.txt", "label_map.txt",
    "label_colors.txt", "colors.csv", "colors.txt",
)  # fmt: skip
_SHOWN = 5
IGNORE = 255
_LONGEST_INDEX = 9
_LAYOUT = (
    "a folder with images/ and masks/ (PNG of the same name; pixels are class indices, 255 is not counted, or 0 and "
    "255, or colours of a palette.csv with name,r,g,b), an optional split.csv (filename, split) and classes.txt (a "
    "name a line)"
)


def _inner(place: Path, names: tuple[str, ...]) -> Path | None:
    """The folder of one of some names, in any case."""
    inside = {path.name.lower(): path for path in place.iterdir() if path.is_dir()}
    return next((inside[name] for name in names if name in inside), None)


def _places(root: Path) -> dict[str, Path]:
    if _inner(root, _IMAGES) is not None and _inner(root, _MASKS) is not None:
        return {"": root}
    return {
        path.name: path
        for path in sorted(root.iterdir())
        if path.name.lower() in SPLIT_NAMES and path.is_dir() and _inner(path, _MASKS) is not None
    }


def _recognise(listing: Listing) -> str:
    if not listing.is_folder or not (places := _places(listing.root)):
        return ""
    first = _inner(next(iter(places.values())), _MASKS)
    return "" if first is None else f"{listing.relative(first)}/"


def _read(listing: Listing) -> Masked:
    """Reads images/ and masks/, or train and val (eval, test, calibration) folders of such.

    Raises:
        InputError: A picture without mask, a split with no known name, a class without name, or masks that are neither
            indices nor of a palette.
    """
    root = listing.root
    pairs = [
        (picture, mask, SPLIT_NAMES[name.lower()] if name else "")
        for name, place in _places(root).items()
        for picture, mask in _pairs(root, place)
    ]
    if not pairs:
        raise InputError(f"{root} holds no pictures with masks; it takes {_LAYOUT}")
    table = root / "split.csv"
    if table.is_file():
        pairs = _with_splits(table, pairs)
    palette = next((root / name for name in _PALETTES if (root / name).is_file()), None)
    told = _class_names(root / "classes.txt")
    masks = [mask for _, mask, _ in pairs]
    if palette is not None:
        encoding = Encoding.of_palette(read_palette(palette), palette)
    else:
        encoding = encoding_of(root, masks, told)
    rows: list[tuple[Path, Mask, str]] = [
        (picture, mask_of_file(mask, encoding), split) for picture, mask, split in pairs
    ]
    return Masked(root, rows, encoding.classes, encoding.notes)


def _pairs(root: Path, place: Path) -> list[tuple[Path, Path]]:
    images, folder = _inner(place, _IMAGES), _inner(place, _MASKS)
    if images is None or folder is None:
        raise InputError(f"{place} has no folders images/ and masks/; it takes {_LAYOUT}")
    pictures = sorted(path for path in images.iterdir() if path.is_file() and path.name[0] != ".")
    masks = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".png"}
    # Some tools say in its name that a mask is one.
    masks |= {stem.removesuffix("_mask"): path for stem, path in masks.items() if stem.endswith("_mask")}
    lone = [str(path.relative_to(root)) for path in pictures if path.stem not in masks]
    if lone:
        raise InputError(
            f"{root}: {len(lone)} of {len(pictures)} pictures have no mask of the same name in {folder.name}/ "
            f"({_listed(lone)}); add NAME.png for each, or take the pictures out"
        )
    return [(path, masks[path.stem]) for path in pictures]


def _with_splits(path: Path, pairs: list[tuple[Path, Path, str]]) -> list[tuple[Path, Path, str]]:
    table = read_table(path)
    table.require("filename", "split")
    named = {row["filename"]: split_name(path, line, row["split"]) for line, row in table.rows}
    here = {picture.name for picture, _, _ in pairs}
    if unknown := [name for name in named if name not in here]:
        raise InputError(
            f"{path} names {len(unknown)} pictures that are not in images/ ({_listed(unknown)}); add them, or "
            "take their lines out"
        )
    if missing := [picture.name for picture, _, _ in pairs if picture.name not in named]:
        raise InputError(
            f"{path} leaves out {len(missing)} pictures of images/ ({_listed(missing)}); give each a line, or "
            "take them out"
        )
    return [(picture, mask, named[picture.name]) for picture, mask, _ in pairs]


def _class_names(path: Path) -> tuple[str, ...]:
    """Reads names from classes.txt, "NAME" or "INDEX NAME" a line, without 255; none without such a file."""
    if not path.is_file():
        return ()
    names: dict[int, str] = {}
    for line, name in enumerate(read_names(path), start=1):
        head, _, rest = name.partition(" ")
        is_numbered = head.isascii() and head.isdigit() and bool(rest)
        # A mask has 8 bits, so a longer number is no index.
        index = int(head[:_LONGEST_INDEX]) if is_numbered else len(names)
        if index in names:
            raise InputError(f"{path} line {line}: class {index} is {names[index]!r} already; give each its own number")
        if index != IGNORE:
            names[index] = rest.strip() if is_numbered else name
    if sorted(names) != list(range(len(names))):
        raise InputError(f"{path} numbers its classes {sorted(names)}; they run from 0 without a gap, background first")
    if len(names) < 2:
        raise InputError(f"{path} names {len(names)} class; a segmentation tells at least two apart, background first")
    return tuple(names[index] for index in range(len(names)))


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


FORMAT = Format(
    title="folders of masks",
    layout=_LAYOUT,
    recognise=_recognise,
    masks=_read,
)
