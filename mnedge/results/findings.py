"""Findings: faults of a data set, and facts that a user should know."""

from __future__ import annotations

from dataclasses import dataclass

_LISTED = 3


@dataclass(frozen=True)
class Finding:
    """A non-fatal problem found while reading annotations.

    Attributes:
        what: Words that follow their number, "boxes stick out of their picture and were cut at its edge".
        where: Place of each of them.
    """

    what: str
    where: tuple[str, ...]

    def sentence(self) -> str:
        """The finding in a phrase: its number, its description, and the first few places."""
        rest = f" and {len(self.where) - _LISTED} more" if len(self.where) > _LISTED else ""
        return f"{len(self.where):,} {self.what} ({'; '.join(self.where[:_LISTED])}{rest})"


@dataclass(frozen=True)
class Tiny:
    """A picture that is smaller than half the network's input."""

    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Shared:
    """A picture that two splits have.

    Attributes:
        train: Its source in the training split, or else in the validation split.
        held: Its source in the other one.
        correlation: Correlation of their grey thumbnails; 1 for a copy.
        is_mirrored: Whether one picture mirrors the other.
        labels: Their class names; two different ones contradict each other.
        splits: The two, as people call them: "train", "val" or "test", in this order.
    """

    train: str
    held: str
    correlation: float
    is_mirrored: bool
    labels: tuple[str, str]
    splits: tuple[str, str] = ("train", "val")


@dataclass(frozen=True)
class Suspect:
    """A picture that looks like another class than the one it is filed under.

    Attributes:
        source: The picture.
        label: The class it is filed under.
        looks_like: The class that pictures like it are filed under.
        margin: Distance from its own class, in the scores of the probe; larger is surer.
    """

    source: str
    label: str
    looks_like: str
    margin: float


@dataclass(frozen=True)
class Suspects:
    """Pictures that look mislabelled, the surest first; as a training keeps them until it ends."""

    suspects: tuple[Suspect, ...]


@dataclass(frozen=True)
class Findings:
    """Findings of a data set; every list may be empty.

    Attributes:
        broken: Pictures that were left out because they cannot be read.
        tiny: Pictures that are smaller than half the input.
        blank: Pictures of one colour.
        shared: Pictures in two splits.
        without_validation: Classes that no validation picture shows.
        annotations: Problems found while reading boxes or masks.
    """

    broken: tuple[str, ...] = ()
    tiny: tuple[Tiny, ...] = ()
    blank: tuple[str, ...] = ()
    shared: tuple[Shared, ...] = ()
    without_validation: tuple[str, ...] = ()
    annotations: tuple[Finding, ...] = ()
