"""Map from the classes of a model to those of a data set, for a model that was made for other classes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.names import MOST_CLASSES
from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.validation.predict import Predictions

_INDICES = ("int32", "int64")
_POSTPROCESSED = 4
_SHOWN = 5
# No further than there may be classes.
_OFFSET = rf"[+-]?\d{{1,{len(str(MOST_CLASSES))}}}"
_GRAMMAR = (
    "it is MODEL=DATA,... with indices of the model's classes and names or indices of the data's, such as "
    "8=cat,12=dog,rest=background; 1-19=background maps a range, offset=-1 all that is not named"
)


@dataclass(frozen=True)
class ClassMap:
    """A map from a model's classes.

    Attributes:
        named: Class of the data by class of the model.
        rest: Class of the data that all others are; None where they are none of the data's.
        offset: Offset that is added to all others instead; None for none.
    """

    named: Mapping[int, int]
    rest: int | None = None
    offset: int | None = None

    def table(self, model_classes: int, data_classes: int) -> NDArray[np.int64]:
        """The data's class of each of the model's, int64 (model_classes,); -1 for none."""
        return self.of(np.arange(model_classes), data_classes)

    def of(self, indices: NDArray[np.int64], data_classes: int) -> NDArray[np.int64]:
        """The data's class of each of some of the model's, int64; -1 for none. Models of others give any numbers."""
        shown, places = np.unique(indices, return_inverse=True)
        found = np.full(shown.shape, -1 if self.rest is None else self.rest, np.int64)
        if self.offset is not None:
            near = (shown >= -self.offset) & (shown < data_classes - self.offset)
            found[near] = shown[near] + self.offset
        for model, data in self.named.items():
            found[shown == model] = data
        found[shown < 0] = -1
        return found[places].reshape(indices.shape)


def parse_class_map(text: str, classes: Sequence[str]) -> ClassMap:
    """Reads a map such as "8=cat,12=dog,rest=background".

    Args:
        text: The map.
        classes: Names of the data's classes.

    Raises:
        InputError: It is none, or names a class that the data does not have.
    """
    named: dict[int, int] = {}
    rest = offset = None
    for entry in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = (part.strip() for part in entry.partition("="))
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", key)
        if key == "offset" and re.fullmatch(_OFFSET, value):
            offset = int(value)
        elif key == "rest" and value:
            rest = _index(value, classes)
        elif span is not None and value:
            first, last = _span(text, span[1], span[2] or span[1])
            named |= dict.fromkeys(range(first, last + 1), _index(value, classes))
        else:
            raise InputError(f"--class-map {text!r}: {entry!r} is no part of a class map; {_GRAMMAR}")
    if not named and rest is None and offset is None:
        raise InputError(f"--class-map {text!r} maps nothing; {_GRAMMAR}")
    return ClassMap(named, rest, offset)


def _span(text: str, first: str, last: str) -> tuple[int, int]:
    longest = len(str(MOST_CLASSES))
    span = (int(first[: longest + 1]), int(last[: longest + 1]))
    if not span[0] <= span[1] < MOST_CLASSES:
        raise InputError(
            f"--class-map {text[:80]!r}: {first[:20]}-{last[:20]} is no span of classes; it runs upwards and ends "
            f"below {MOST_CLASSES}"
        )
    return span


def _index(value: str, classes: Sequence[str]) -> int:
    if value in classes:
        return list(classes).index(value)
    if re.fullmatch(r"\d{1,18}", value) and int(value) < len(classes):
        return int(value)
    raise InputError.unknown("class of the data", value, classes)


def in_classes_of(predictions: Predictions, dataset: Dataset, classes: ClassMap | None) -> Predictions:
    """Returns predictions in the classes of a data set.

    Scores of classes that are one class of the data become the highest of them. Detections of classes that the data
    does not mark are left out.

    Args:
        predictions: Predictions of the artifact.
        dataset: The data, of boxes or masks.
        classes: Map of the classes; None if they are the same.

    Raises:
        InputError: The model has a class that is none of the data's, and no map says which.
    """
    count = len(dataset.classes)
    if dataset.truths is None and classes is None:
        return predictions
    if predictions.info.outputs[0].dtype in _INDICES:
        return _map_of_indices(predictions, dataset, classes)
    if len(predictions.others) == _POSTPROCESSED - 1:
        return _postprocessed(predictions, dataset, classes)
    if predictions.outputs.ndim < 2:
        return predictions
    if classes is None:
        if predictions.outputs.shape[-1] > count:
            raise _strange(predictions, dataset, [predictions.outputs.shape[-1] - 1])
        return predictions
    return replace(
        predictions, outputs=_grouped(predictions.outputs, classes.table(predictions.outputs.shape[-1], count), count)
    )


def _map_of_indices(predictions: Predictions, dataset: Dataset, classes: ClassMap | None) -> Predictions:
    count = len(dataset.classes)
    shown = np.unique(predictions.outputs).astype(np.int64)
    chosen = classes or ClassMap({}, offset=0)
    strange = shown[chosen.of(shown, count) < 0].tolist()
    if strange:
        raise _strange(predictions, dataset, strange)
    mapped = np.empty_like(predictions.outputs)
    for place, output in enumerate(predictions.outputs):
        mapped[place] = chosen.of(output.astype(np.int64), count)
    return replace(predictions, outputs=mapped)


def _postprocessed(predictions: Predictions, dataset: Dataset, classes: ClassMap | None) -> Predictions:
    """Returns boxes, classes, scores and count without classes that the data does not have."""
    boxes, (found, scores, counts) = predictions.outputs, predictions.others
    valid = np.arange(found.shape[1]) < counts.reshape(-1, 1)
    indices = found.astype(np.int64)
    if classes is None:
        if np.any((indices[valid] < 0) | (indices[valid] >= len(dataset.classes))):
            raise _strange(predictions, dataset, sorted({int(index) for index in indices[valid]}))
        return predictions
    mapped = classes.of(np.where(valid, indices, 0), len(dataset.classes))
    # A stable sort brings what is kept to the front, in its order.
    order = np.argsort(~(valid & (mapped >= 0)), axis=1, kind="stable")
    kept = (valid & (mapped >= 0)).sum(axis=1).astype(np.float32).reshape(counts.shape)
    others = (
        np.take_along_axis(mapped, order, axis=1).astype(np.float32),
        np.take_along_axis(scores, order, axis=1),
        kept,
    )
    return replace(predictions, outputs=np.take_along_axis(boxes, order[..., None], axis=1), others=others)


def _grouped(scores: NDArray[np.float32], table: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """The highest score of the model's classes that are each class of the data; none has the lowest there is."""
    grouped = np.full((*scores.shape[:-1], count), -np.inf, np.float32)
    for data in range(count):
        members = np.flatnonzero(table == data)
        if members.size:
            grouped[..., data] = scores[..., members].max(axis=-1)
    return grouped


def _strange(predictions: Predictions, dataset: Dataset, indices: Sequence[int]) -> InputError:
    shown = ", ".join(map(str, indices[:_SHOWN])) + (" …" if len(indices) > _SHOWN else "")
    return InputError(
        f"{predictions.path.name or 'the model'} knows classes ({shown}) that are none of {dataset.name}'s "
        f"({', '.join(dataset.classes[:_SHOWN])}{' …' if len(dataset.classes) > _SHOWN else ''}); say which is which "
        f"with --class-map: {_GRAMMAR}"
    )
