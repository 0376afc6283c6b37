"""Mask files: what their pixels stand for, found once for the whole data set."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.formats._format import Mask
from mnedge.data.formats._table import read_lines
from mnedge.data.names import checked_name
from mnedge.data.preprocess import opened
from mnedge.errors import InputError
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Colour = tuple[int, int, int]

# Pixels that are neither right nor wrong: outlines, mostly.
IGNORE = 255
_MOST_CLASSES = 255
# More values than this are no classes that somebody left without names.
_MOST_UNNAMED = 64
# Outlines in Pascal VOC's masks.
_VOID = (224, 224, 192)
_VOID_NAMES = ("void", "ignore", "unlabeled", "unlabelled")


@dataclass(frozen=True)
class Encoding:
    """Meaning of the pixels of all masks of a data set.

    Attributes:
        classes: Class names by index.
        colours: Class index by colour, where pixels are colours or palettes of a file tell; None for class indices.
        values: Class index by pixel value, where that is not the index itself.
        notes: Findings about unusual pixels, and their meaning.
    """

    classes: tuple[str, ...]
    colours: Mapping[Colour, int] | None = None
    values: Mapping[int, int] | None = None
    notes: tuple[Finding, ...] = ()

    @classmethod
    def of_palette(cls, palette: Mapping[str, Colour], path: Path) -> Encoding:
        """The encoding of a palette file: classes in its order, background first where it is named so.

        Raises:
            InputError: There are fewer than two classes, or more than masks can tell apart.
        """
        names = [name for name in palette if name.lower() not in _VOID_NAMES or palette[name] != _VOID]
        names.sort(key=lambda name: name.lower() != "background")
        if not 2 <= len(names) <= _MOST_CLASSES:
            raise InputError(f"{path} names {len(names)} classes; a segmentation tells 2 to {_MOST_CLASSES} apart")
        colours = {palette[name]: index for index, name in enumerate(names)}
        colours.setdefault(_VOID, IGNORE)
        return cls(tuple(names), colours)


def read_palette(path: Path) -> dict[str, Colour]:
    """Reads a palette file: a name and three numbers from 0 to 255 a line, with or without header.

    Common orders are "name,r,g,b", CVAT's "name:r,g,b::" and "r g b name".

    Raises:
        InputError: A line is no such entry, or two classes have one colour.
    """
    found: dict[str, Colour] = {}
    taken: dict[Colour, str] = {}
    for line, text in _lines(path):
        words = [word for word in re.split(r"[\s,;:]+", text) if word]
        numbers = [word for word in words if word.isascii() and word.isdigit() and len(word) < 4]
        names = [word for word in words if word not in numbers]
        if not numbers and (line == 1 or text.startswith("#")):
            continue
        if text.startswith("#"):
            continue
        values = [int(number) for number in numbers]
        # An index may stand before the colour.
        values = values[-3:] if len(values) == 4 else values
        if len(values) != 3 or not names or max(values) > 255:
            raise InputError(
                f"{path} line {line}: {text[:60]!r} is no class with its colour; it is NAME,R,G,B, 0 to 255"
            )
        name, colour = checked_name(" ".join(names), f"{path} line {line}"), (values[0], values[1], values[2])
        if name in found:
            raise InputError(
                f"{path} line {line}: {name!r} has a colour already, {found[name]}; leave one line a class"
            )
        if colour in taken:
            raise InputError(
                f"{path} line {line}: {name!r} has the colour of {taken[colour]!r}, {colour}; give each class its own"
            )
        found[name] = colour
        taken[colour] = name
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    if path.suffix == ".csv":
        return [(line, ",".join(cells)) for line, cells in read_lines(path)]
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} cannot be read: {exc}; it is UTF-8 text with NAME,R,G,B a line") from exc
    lines = enumerate(text.split("\n"), start=1)
    return [(line, own.strip()) for line, own in lines if own.strip()]


def encoding_of(root: Path, masks: Sequence[Path], told: tuple[str, ...]) -> Encoding:
    """Finds what pixels stand for, of masks without palette file: class indices, or 0 and 255 for one class.

    Args:
        root: Name of the data set in messages.
        masks: The files.
        told: Class names that a file gives; () where none does.

    Raises:
        InputError: The masks show one class only, or their palettes contradict each other.
    """
    with ThreadPoolExecutor() as pool:
        # Where names are told, a broken mask is told of when it is read, and may be left out.
        shown = list(pool.map(lambda path: _shown(path, is_lenient=bool(told)), masks))
    values = set().union(*(own for own, _ in shown))
    _refuse_contradictions(masks, [palette for _, palette in shown], values)
    foreground = values - {0}
    if foreground == {IGNORE} and 0 in values and len(told) in (0, 2):
        names = tuple(mask.name for mask in masks)
        note = Finding("masks have pixels of 0 and 255 only: 255 is the class, not what is ignored", names)
        return Encoding(told or ("background", "foreground"), values={0: 0, IGNORE: 1}, notes=(note,))
    if told:
        return Encoding(told)
    highest = max(values - {IGNORE}, default=0)
    if highest == 0:
        raise InputError(f"the masks of {root} show class 0 only; a segmentation tells at least two classes apart")
    if len(values) > _MOST_UNNAMED:
        raise InputError(
            f"the masks of {root} show {len(values)} values and nothing names their classes: smoothed or compressed "
            "masks look so; save them as PNG without smoothing, or name the classes in a classes.txt, one a line"
        )
    classes = tuple(str(index) for index in range(highest + 1))
    gaps = tuple(str(index) for index in range(highest) if index not in values)
    notes = [Finding("class indices have no pixel; name the classes in a classes.txt", gaps)] if gaps else []
    return Encoding(classes, notes=tuple(notes))


def _shown(path: Path, *, is_lenient: bool) -> tuple[set[int], dict[int, Colour]]:
    """The pixel values of a mask, and the colours of those in its palette, where it has one."""
    try:
        values = indices(path)
        with opened(path) as mask:
            palette = mask.getpalette() if mask.mode == "P" else None
    except InputError:
        if not is_lenient:
            raise
        return set(), {}
    own = {int(value) for value in np.unique(values)}
    colours = palette or []
    return own, {
        value: (colours[3 * value], colours[3 * value + 1], colours[3 * value + 2])
        for value in sorted(own)
        if len(colours) >= 3 * value + 3
    }


def _refuse_contradictions(masks: Sequence[Path], palettes: Sequence[Mapping[int, Colour]], values: set[int]) -> None:
    """Refuses masks whose palettes give one colour to different indices: the indices then mean different classes."""
    first: dict[Colour, tuple[int, Path]] = {}
    grey = {(value, value, value) for value in values}
    for path, palette in zip(masks, palettes, strict=True):
        for value, colour in palette.items():
            if colour in grey or list(palette.values()).count(colour) > 1:
                continue
            known, other = first.setdefault(colour, (value, path))
            if known != value:
                raise InputError(
                    f"the colour {colour} is class {known} in the palette of {other}, but {value} in that of {path}: "
                    "their indices do not mean the same; export the masks with one palette, or as colours with a "
                    "palette.csv (name,r,g,b)"
                )


def indices(path: Path) -> NDArray[np.uint8]:
    """The pixels of a mask of class indices, uint8, (H, W).

    Raises:
        InputError: The mask is broken, or has colours.
    """
    with opened(path) as mask:
        if mask.mode not in ("L", "P", "1"):
            raise InputError(
                f"the mask {path} has pixels of kind {mask.mode}; it takes 8-bit class indices (L, or P with a "
                "palette), so save indices instead of colours, or put a palette.csv with name,r,g,b beside the folders"
            )
        return np.asarray(mask, np.uint8)


def mask_of_file(path: Path, encoding: Encoding) -> Mask:
    """The mask that a file holds."""
    return Mask(lambda _size: _read(path, encoding), str(path), (path,))


def _read(path: Path, encoding: Encoding) -> NDArray[np.uint8]:
    if encoding.colours is not None:
        return _of_colours(path, encoding.colours)
    values = indices(path)
    if encoding.values is None:
        return values
    table = np.arange(256, dtype=np.uint8)
    for value, index in encoding.values.items():
        table[value] = index
    return table[values]


def _of_colours(path: Path, colours: Mapping[Colour, int]) -> NDArray[np.uint8]:
    with opened(path) as mask:
        if mask.mode not in ("RGB", "P", "RGBA", "L", "1"):
            raise InputError(f"the mask {path} has pixels of kind {mask.mode}; it takes colours of 8 bits")
        pixels = np.asarray(mask.convert("RGB"), np.int64)
    codes = (pixels[..., 0] << 16) + (pixels[..., 1] << 8) + pixels[..., 2]
    shown, places = np.unique(codes, return_inverse=True)
    table = np.zeros(shown.size, np.uint8)
    for place, code in enumerate(shown.tolist()):
        colour = (code >> 16, code >> 8 & 255, code & 255)
        if colour not in colours:
            count = int((places == place).sum())
            raise InputError(
                f"the mask {path} has {count:,} pixels of the colour {colour}, which is no class of the palette; add "
                "it there, or save the mask without smoothing (PNG, no resize)"
            )
        table[place] = colours[colour]
    return table[places.reshape(codes.shape)]
