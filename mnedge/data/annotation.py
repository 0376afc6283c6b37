"""Output of every reader of boxes and outlines: pictures and their objects as the file has them, not yet checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnedge.results.findings import Finding

# Pixels; no picture is as wide, and products of such numbers are still exact enough.
_LONGEST = float(1 << 31)


def is_length(value: float) -> bool:
    """Returns whether a number can be a place in a picture, in pixels: finite, and no larger than any picture."""
    return -_LONGEST < value < _LONGEST


@dataclass(frozen=True)
class Runs:
    """A region as run lengths.

    Attributes:
        counts: Lengths of the runs, outside first.
        size: Width and height of the region, pixels.
        start: Column and row of its upper left pixel in the picture.
        is_by_column: Whether runs go down the columns (COCO), not along the rows (CVAT).
    """

    counts: tuple[int, ...]
    size: tuple[int, int]
    start: tuple[int, int] = (0, 0)
    is_by_column: bool = True


@dataclass(frozen=True)
class Outline:
    """The region of an object.

    Attributes:
        rings: Polygons as x, y, x, y, …; the region is all that any of them encloses.
        runs: Run lengths instead; None where there are rings.
    """

    rings: tuple[tuple[float, ...], ...] = ()
    runs: Runs | None = None


@dataclass(frozen=True)
class Marked:
    """An annotated object.

    Attributes:
        name: Its class.
        corners: x1, y1, x2, y2 in pixels; x2 and y2 exclusive.
        where: Name in messages, e.g. "labels.csv line 7".
        is_crowd: A region of many objects that are not marked one by one, or one too difficult to count: neither
            learned nor missed.
        is_relative: Whether its numbers are fractions of the picture's width and height instead of pixels.
        outline: Its region; None where only a box is marked.
    """

    name: str
    corners: tuple[float, float, float, float]
    where: str
    is_crowd: bool = False
    is_relative: bool = False
    outline: Outline | None = None


@dataclass(frozen=True)
class Annotated:
    """A picture with its objects.

    Attributes:
        file: The picture.
        split: "train", "calibration", "eval", "test", or "" where none is given.
        objects: Possibly none; what stands later lies above what stands before.
        where: Name of its entry in messages.
        size: Width and height in pixels that the annotation claims; None where it does not say.
    """

    file: Path
    split: str
    objects: Sequence[Marked]
    where: str
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Annotations:
    """A data set as annotated.

    Attributes:
        root: The folder that the pictures lie in or below.
        pictures: All of them.
        classes: Class names in order, where the format or a classes.txt fixes it; () for the names in use, sorted.
        classes_from: The file that fixes them.
        notes: Objects that were left out or are unusual, and why.
        is_stacked: Whether the order of a picture's objects is that of their depth; otherwise the larger lie below.
    """

    root: Path
    pictures: Sequence[Annotated]
    classes: tuple[str, ...] = ()
    classes_from: str = ""
    notes: tuple[Finding, ...] = ()
    is_stacked: bool = False


def bounds(ring: Sequence[float]) -> tuple[float, float, float, float]:
    """The box around points x, y, x, y, …: x1, y1, x2, y2."""
    return min(ring[::2]), min(ring[1::2]), max(ring[::2]), max(ring[1::2])


def run_lengths(text: str) -> list[int]:
    """Run lengths out of COCO's text (cocoapi, common/maskApi.c, rleFrString).

    A letter has 5 bits, counted from "0"; a sixth says that more follow. From the fourth run on, it is the difference
    to the run before the last.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            return []
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts
