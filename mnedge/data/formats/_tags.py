"""Pictures with any number of labels each, as every reader of them gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.data.formats._format import Tagged
from mnedge.data.formats.index_csv import refuse_missing
from mnedge.data.names import checked_name
from mnedge.errors import InputError
from mnedge.foreign import is_file
from mnedge.results.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Row:
    """A picture and its labels as a file has them.

    Attributes:
        picture: The picture.
        names: Names of its labels.
        split: Its split; "" where none is given.
        where: File and place in it, for messages.
    """

    picture: Path
    names: Sequence[str]
    split: str
    where: str


def tagged(
    source: Path, root: Path, rows: Sequence[Row], classes: Iterable[str], notes: Sequence[Finding] = ()
) -> Tagged:
    """Gives pictures with the indices of their labels.

    Args:
        source: The file or folder of the labels, for messages.
        root: The folder that the pictures lie in or below.
        rows: Each picture.
        classes: Label names in their order; names that no picture has keep their index.
        notes: Findings of the reader.

    Raises:
        InputError: A picture is not there or stands in two rows, or a name is refused.
    """
    known = tuple(dict.fromkeys(classes))
    first: dict[Path, str] = {}
    missing = []
    for row in rows:
        for name in row.names:
            checked_name(name, row.where)
        if not is_file(row.picture):
            missing.append(f"{row.where}: {row.picture.name}")
        if (earlier := first.setdefault(row.picture, row.where)) != row.where:
            raise InputError(
                f"{row.where}: {row.picture.name} stands in {earlier} already; a picture has its labels in one place: "
                "take one out"
            )
    refuse_missing(source, missing, len(rows))
    none = tuple(row.picture.name for row in rows if not row.names)
    left = [Finding("pictures have no label; they count as a no to each", none)] if none else []
    indices = {name: index for index, name in enumerate(known)}
    made = [(row.picture, tuple(sorted({indices[name] for name in row.names})), row.split) for row in rows]
    return Tagged(root, made, known, (*notes, *left))
