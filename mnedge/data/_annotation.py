"""What every reader of boxes gives: pictures and their objects as the file has them, not yet judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Pixels; no picture is as wide, and products of such numbers are still exact enough.
_LONGEST = float(1 << 31)


def is_length(value: float) -> bool:
    """Whether a number can be a place in a picture, in pixels: finite, and no larger than any picture."""
    return -_LONGEST < value < _LONGEST


@dataclass(frozen=True)
class Marked:
    """One object as annotated.

    Attributes:
        name: Its class.
        corners: x1, y1, x2, y2 in pixels; x2 and y2 exclusive.
        where: What messages call it, e.g. "labels.csv line 7".
        is_crowd: A region of many objects that are not marked one by one, or one too difficult to count: neither
            learned nor missed.
    """

    name: str
    corners: tuple[float, float, float, float]
    where: str
    is_crowd: bool = False


@dataclass(frozen=True)
class Annotated:
    """One picture with its objects.

    Attributes:
        file: The picture.
        split: "train", "calibration", "eval", or "" where none is given.
        objects: Possibly none.
        where: What messages call its entry.
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
    """

    root: Path
    pictures: Sequence[Annotated]
    classes: tuple[str, ...] = ()
    classes_from: str = ""
