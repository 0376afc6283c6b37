"""Accuracy of an artifact: the figures of its task, with their intervals, and its mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnedge.results.stored import ABSENT, FLAT
from mnedge.results.two_classes import TwoClasses

if TYPE_CHECKING:
    from mnedge.untyped import Json, JsonObject

# Lower and upper end of a 95 % interval.
Interval = tuple[float, float]

_INTERVAL, _TWO_CLASSES = "_interval", "two_classes"


@dataclass(frozen=True)
class WorstPicture:
    """A picture that an artifact met badly.

    Attributes:
        source: The picture's file or name.
        counts: Counts or measurements in it, by name: right, missed, wrong, or iou.
    """

    source: str
    counts: Mapping[str, int | float]

    def as_stored(self) -> Mapping[str, object]:
        """Counts stand in the picture's own row."""
        return {"source": self.source, **self.counts}


@dataclass(frozen=True)
class Figures:
    """Figures of a task over all pictures.

    Attributes:
        metrics: Figures by key (top1, map50, mean_iou, …), in 0..1; more is better.
        intervals: Their 95 % intervals, by the same keys, where they are known.
        classes: Figures of each class, by key (iou, ap50) and class; None for a class that no picture shows.
        worst: The pictures that were met worst; None where the task names none.
        two_classes: Curves and best threshold of two classes; None for other numbers of classes.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    worst: tuple[WorstPicture, ...] | None = None
    two_classes: TwoClasses | None = None

    def as_stored(self) -> Mapping[str, object]:
        """Figures stand in the row that holds them: top1, top1_interval, iou, worst."""
        row: dict[str, object] = {**self.metrics}
        row |= {f"{name}{_INTERVAL}": interval for name, interval in self.intervals.items()}
        row |= self.classes
        row |= {} if self.worst is None else {"worst": self.worst}
        return row if self.two_classes is None else {**row, _TWO_CLASSES: self.two_classes}


@dataclass(frozen=True)
class AccuracyRow:
    """Accuracy of one artifact on one device.

    Attributes:
        artifact: File name.
        runtime: Runtime and version.
        device: URI of the device.
        dataset: Name of the data set.
        images: Number of pictures that were counted.
        figures: Figures of the task.
        partitions: Delegate partitions; None where the notion does not exist.
    """

    artifact: str
    runtime: str
    device: str
    dataset: str
    images: int
    figures: Figures = field(metadata=FLAT)
    partitions: int | None = None

    def metric(self, name: str) -> float | None:
        """A figure, 0..1; None where the row has none of this name."""
        return self.figures.metrics.get(name)

    def interval(self, name: str) -> Interval | None:
        """The 95 % interval of a figure, where it is known."""
        return self.figures.intervals.get(name)

    @staticmethod
    def of_stored(row: JsonObject) -> JsonObject:
        """Puts the figures of a stored row, which are those of any task, into a value of their own."""
        own = {"artifact", "runtime", "device", "dataset", "images", "partitions"}
        metrics: JsonObject = {}
        intervals: JsonObject = {}
        classes: JsonObject = {}
        for name, value in row.items():
            if name in own or name in ("worst", _TWO_CLASSES) or value is None:
                continue
            if name.endswith(_INTERVAL):
                intervals[name.removesuffix(_INTERVAL)] = value
            elif isinstance(value, dict):
                classes[name] = value
            else:
                metrics[name] = value
        worst = row.get("worst")
        if isinstance(worst, list):
            worst = [_picture_of_stored(picture) for picture in worst]
        figures: JsonObject = {"metrics": metrics, "intervals": intervals, "classes": classes, "worst": worst}
        figures[_TWO_CLASSES] = row.get(_TWO_CLASSES)
        return {**{name: value for name, value in row.items() if name in own}, "figures": figures}


def _picture_of_stored(picture: Json) -> Json:
    """Puts the counts of a stored picture into a value of their own; other values are left to the reader."""
    if not isinstance(picture, dict):
        return picture
    own = {"source": picture["source"]} if "source" in picture else {}
    return {**own, "counts": {name: value for name, value in picture.items() if name != "source"}}


@dataclass(frozen=True)
class MixUp:
    """A mix-up: pictures of a class that were taken for another class.

    Attributes:
        truth: The class of the data.
        predicted: Class that the artifact gave.
        images: Number of such pictures.
        fraction: Its share of all that is of the true class, 0..1.
        objects: Number of such objects, where objects are counted.
    """

    truth: str
    predicted: str
    images: int
    fraction: float
    objects: int | None = field(default=None, metadata=ABSENT)
