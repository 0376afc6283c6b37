"""Format: one way in which pictures and their labels lie on a disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.data.annotation import Annotations
    from mnedge.data.listed import Row
    from mnedge.data.listing import Listing
    from mnedge.results.findings import Finding

Kind = Literal["classes", "labels", "boxes", "masks"]
# The task that takes a kind of labels.
TASKS: Mapping[Kind, str] = {"classes": "classify", "labels": "tag", "boxes": "detect", "masks": "segment"}


@dataclass(frozen=True)
class Labelled:
    """Pictures with one class each.

    Attributes:
        root: The folder that the pictures lie in or below.
        rows: Each picture, its class index, and its split; "" where none is given.
        classes: Class names by index.
        is_fixed: Whether `classes` is the whole list; a table may show only some indices.
        notes: Objects that were left out or are unusual, and why.
    """

    root: Path
    rows: Sequence[Row]
    classes: tuple[str, ...]
    is_fixed: bool = False
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Tagged:
    """Pictures with any number of labels each.

    Attributes:
        root: The folder that the pictures lie in or below.
        rows: Each picture, the indices of its labels, and its split; "" where none is given.
        classes: Label names by index.
        notes: Objects that were left out or are unusual, and why.
    """

    root: Path
    rows: Sequence[tuple[Path, tuple[int, ...], str]]
    classes: tuple[str, ...]
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Mask:
    """Mask of one picture, and how it is made.

    Attributes:
        draw: Gives the class indices, uint8, (H, W), from the picture's (width, height).
        where: Name in messages.
        files: The files that it is read from.
        told: Source of the drawing, for the data set's checksum, unless it is in `files`.
    """

    draw: Callable[[tuple[int, int]], NDArray[np.uint8]]
    where: str
    files: tuple[Path, ...] = ()
    told: str = ""


@dataclass(frozen=True, eq=False)
class Masked:
    """Pictures with masks.

    Attributes:
        root: The folder that the pictures lie in or below.
        rows: Each picture, its mask, and its split; "" where none is given.
        classes: Class names by index.
        notes: Objects that were left out or are unusual, and why.
    """

    root: Path
    rows: Sequence[tuple[Path, Mask, str]]
    classes: tuple[str, ...]
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Format:
    """A format of data sets.

    Attributes:
        title: Name of the format for people.
        layout: Layout on the disk, for messages.
        recognise: Names what shows that a folder or file is of this format; "" where it is not. Looks at names and the
            beginnings of files only.
        classes: Reads pictures with one class each; None, here and below, where the format holds none.
        labels: Reads pictures with any number of labels each.
        boxes: Reads pictures with boxes.
        masks: Reads pictures with masks, or with outlines that masks are drawn from.
        is_plain: Whether the format is what lies there without a list: it counts only where no other is found.
    """

    title: str
    layout: str
    recognise: Callable[[Listing], str]
    classes: Callable[[Listing], Labelled] | None = None
    labels: Callable[[Listing], Tagged] | None = None
    boxes: Callable[[Listing], Annotations] | None = None
    masks: Callable[[Listing], Masked | Annotations] | None = None
    is_plain: bool = field(default=False, kw_only=True)

    def reader(self, kind: Kind) -> object | None:
        """Returns the reader of a kind of labels; None if the format holds none."""
        readers = {"classes": self.classes, "labels": self.labels, "boxes": self.boxes, "masks": self.masks}
        return readers[kind]
