"""Outcome of a training: the figures of the best weights, of each class, and the pictures that were met worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from mnedge.results import stored
from mnedge.results.accuracy import MixUp
from mnedge.results.stored import ABSENT, FLAT
from mnedge.results.two_classes import TwoClasses

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.untyped import Json, JsonObject

# Numbers in the row of a report that the outcome has not measured.
_NO_FIGURES = ("schema", "seconds", "cpu_seconds")


@dataclass(frozen=True)
class ClassRow:
    """Figures of one class of the validation split.

    Attributes:
        name: Class name.
        images: Number of pictures that show it.
        figures: Figures of the class by key (recall, iou, ap50, …), 0..1; None where there is nothing to divide by.
        boxes: Number of its boxes, where boxes are marked.
    """

    name: str
    images: int
    figures: Mapping[str, float | None]
    boxes: int | None = None

    def as_stored(self) -> Mapping[str, object]:
        """Figures stand in the row of their class."""
        boxes = {} if self.boxes is None else {"boxes": self.boxes}
        return {"class": self.name, "images": self.images, **boxes, **self.figures}

    @staticmethod
    def of_stored(row: JsonObject) -> JsonObject:
        """Puts the figures of a stored row into a value of their own."""
        own = ("class", "images", "boxes")
        figures = {name: value for name, value in row.items() if name not in own}
        return {"name": row.get("class"), **own_values(row, "images", "boxes"), "figures": figures}


@dataclass(frozen=True)
class MetPicture:
    """A validation picture that was met badly.

    Attributes:
        source: The picture's file or name.
        words: Description of the event, for people; None where label and prediction suffice.
        label: Its class.
        predicted: The class that was predicted.
        probability: Probability of the predicted class.
        label_probability: Probability of its own class.
        nearest: The picture that is nearest to it, of an embedding.
        counts: Counts or measurements in it, by name: right, missed, wrong, or iou.
    """

    source: str
    words: str | None = field(default=None, metadata=ABSENT)
    label: str | None = field(default=None, metadata=ABSENT)
    predicted: str | None = field(default=None, metadata=ABSENT)
    probability: float | None = field(default=None, metadata=ABSENT)
    label_probability: float | None = field(default=None, metadata=ABSENT)
    nearest: str | None = field(default=None, metadata=ABSENT)
    counts: Mapping[str, int | float] = field(default_factory=dict, metadata=FLAT)

    @staticmethod
    def of_stored(row: JsonObject) -> JsonObject:
        """Puts the counts of a stored row into a value of their own."""
        own = {entry.name for entry in fields(MetPicture)} - {"counts"}
        counts = {name: value for name, value in row.items() if name not in own}
        return {**{name: value for name, value in row.items() if name in own}, "counts": counts}


@dataclass(frozen=True)
class Confusion:
    """Counts of predicted classes by true class.

    Attributes:
        classes: Class names.
        counts: Number of pictures, by the true class and then by the predicted one.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of the best weights on the validation split.

    Attributes:
        figures: The task's metrics by key, 0..1, and what else it measures, such as the best_score of a detector.
        classes: Each class.
        confusion: Confusion of a classifier; None for other tasks.
        mixups: The same as pairs, the most frequent first; None where the task has none.
        worst: The pictures that were met worst, the worst first.
        two_classes: Curves and best threshold of two classes; None for other numbers of classes.
    """

    figures: Mapping[str, float]
    classes: tuple[ClassRow, ...]
    confusion: Confusion | None = None
    mixups: tuple[MixUp, ...] | None = None
    worst: tuple[MetPicture, ...] = ()
    two_classes: TwoClasses | None = None

    def as_stored(self) -> Mapping[str, object]:
        """Puts the figures beside the tables and leaves None out; the truth of a mix-up is its label."""
        row: dict[str, object] = {**self.figures, "classes": self.classes}
        if self.confusion is not None:
            row["confusion"] = self.confusion
        if self.mixups is not None:
            row["mixups"] = [_with_label(mixup) for mixup in self.mixups]
        if self.two_classes is not None:
            row["two_classes"] = self.two_classes
        return {**row, "worst": self.worst}

    @staticmethod
    def of_stored(row: JsonObject) -> JsonObject:
        """Puts the tables into the shape of the fields; every other number is a figure."""
        found = own_values(row, "classes", "confusion", "mixups", "worst", "two_classes")
        found["classes"] = _each(found.get("classes"), ClassRow.of_stored)
        found["worst"] = _each(found.get("worst", []), MetPicture.of_stored)
        if found.get("mixups") is not None:
            found["mixups"] = _each(found["mixups"], _with_truth)
        figures: JsonObject = {
            name: value
            for name, value in row.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and name not in _NO_FIGURES
        }
        return {"figures": figures, **found}


def own_values(row: JsonObject, *names: str) -> JsonObject:
    """Returns the entries of a stored row under some names, as far as it has them."""
    return {name: row[name] for name in names if name in row}


def _each(rows: Json, of_stored: Callable[[JsonObject], JsonObject]) -> Json:
    if not isinstance(rows, list):
        return rows
    return [of_stored(row) if isinstance(row, dict) else row for row in rows]


def _with_label(mixup: MixUp) -> JsonObject:
    row = stored.as_row(mixup)
    return {"label": row.pop("truth"), **row}


def _with_truth(row: JsonObject) -> JsonObject:
    return {"truth": row.get("label"), **{name: value for name, value in row.items() if name != "label"}}
