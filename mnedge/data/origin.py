"""Origin: which data set a model learned from and how its splits were drawn, carried in the model's file.

With it, the pictures that the model did not see are found again, also after pictures were added.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import msgspec

from mnedge.data.draw import Draw  # noqa: TC001 - msgspec reads the types of fields
from mnedge.data.splits import hash_order
from mnedge.errors import InputError

if TYPE_CHECKING:
    from mnedge.data._dataset import Dataset

# The name under which files carry their origin.
METADATA = "MNEDGE_SPLIT"
_MARKS = 24
_LETTERS = 8
# Share of the marks that must be there: some pictures may have been taken out.
_LEAST_FOUND = 0.5


@dataclass(frozen=True)
class Origin:
    """Origin of a model: the data set that it was made with.

    Attributes:
        draw: Draw of its data's splits.
        pictures: Number of pictures of the data.
        marks: Digests of the names and sizes of some pictures, by which the data set is known again.
        purpose: Use of the splits: "training" or "calibration".
    """

    draw: Draw
    pictures: int
    marks: tuple[str, ...]
    purpose: str

    def to_bytes(self) -> bytes:
        """Metadata of an origin, as files carry it."""
        return msgspec.json.encode(asdict(self))

    def is_of(self, dataset: Dataset) -> bool:
        """Returns whether a data set is the one that the model was made with, perhaps with more pictures."""
        here = {_mark(dataset, number) for number in range(len(dataset.sources))}
        return bool(self.marks) and sum(mark in here for mark in self.marks) >= _LEAST_FOUND * len(self.marks)


def origin_of(dataset: Dataset, purpose: str) -> Origin | None:
    """The origin of a model that is made with a data set; None where nothing was drawn that would have to be known."""
    if dataset.draw is None or dataset.root is None or dataset.is_divided:
        return None
    some = hash_order(range(len(dataset.sources)), dataset.sources, 0)[:_MARKS]
    return Origin(dataset.draw, len(dataset.sources), tuple(_mark(dataset, number) for number in some), purpose)


def origin_of_bytes(content: bytes, where: str) -> Origin:
    """Reads the bytes of `Origin.to_bytes`.

    Args:
        content: The metadata.
        where: Name of the file in messages.

    Raises:
        InputError: It is damaged.
    """
    try:
        return msgspec.json.decode(content, type=Origin)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise InputError(f"{where}: how the splits of its data were drawn is broken ({exc}); build it again") from exc


def _mark(dataset: Dataset, number: int) -> str:
    file = dataset.content.files[number]
    try:
        size = file.stat().st_size
    except OSError:
        size = -1
    return hashlib.sha256(f"{dataset.sources[number]}\0{size}".encode()).hexdigest()[:_LETTERS]
