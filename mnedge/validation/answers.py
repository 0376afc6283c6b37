"""Answers to single pictures from an artifact's outputs: classes, objects, shares of classes, vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.masks import IGNORE
from mnedge.errors import InputError
from mnedge.graph.heads import THRESHOLD
from mnedge.results.prediction import Answer, ClassAnswer, ObjectAnswer, ShareAnswer, VectorAnswer
from mnedge.validation.detect import found_in
from mnedge.validation.segment import enlarged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.validation.predict import Predictions

# Where objects count, and how many classes are said, where nothing is asked for; as the programs for boards have it.
LEAST_SCORE = 0.4
TOP = 3
_TWO = 2
# Rounding may take so much from a sum of probabilities, or add it.
_SUM_ERROR = 0.02


@dataclass(frozen=True)
class Question:
    """Question to a model.

    Attributes:
        labels: Class names by index; () where they are not known.
        top: At most so many classes or objects a picture; None for what suits the task.
        threshold: Score from which an answer is yes, and from which objects, classes and shares are said, 0..1; None
            for what suits the task.
    """

    labels: tuple[str, ...] = ()
    top: int | None = None
    threshold: float | None = None

    def label(self, index: int) -> str:
        """Name of a class; its index where names are not known."""
        return self.labels[index] if 0 <= index < len(self.labels) else f"class {index}"


@dataclass(frozen=True)
class Seen:
    """A picture as a model sees it.

    Attributes:
        size: Width and height of the upright picture, pixels.
        part: Left, top, right and bottom of what the model sees of it, pixels.
    """

    size: tuple[int, int]
    part: tuple[float, float, float, float]


def class_answers(predictions: Predictions, _seen: Sequence[Seen], question: Question) -> list[Answer]:
    """The most probable classes of each picture, or a yes or no for each label.

    Raises:
        InputError: The output says nothing of classes.
    """
    if predictions.head in ("numbers", "map"):
        shape = "x".join(map(str, predictions.outputs.shape[1:]))
        raise InputError(
            f"{predictions.path} gives {predictions.head} of {shape}, no scores of classes; name what it is for with "
            "--task"
        )
    columns = predictions.outputs.reshape(len(predictions.outputs), -1)
    if predictions.head in ("sigmoid", "multi-label"):
        least = THRESHOLD if question.threshold is None else question.threshold
        # With two names for one output, the second one is the yes.
        first = 1 if columns.shape[1] == 1 and len(question.labels) == 2 else 0
        rows = [
            [
                ClassAnswer(question.label(place + first), place + first, float(score), bool(score >= least))
                for place, score in enumerate(scores)
            ]
            for scores in columns
        ]
        return [Answer(classes=tuple(row[: question.top])) for row in rows]
    top = TOP if question.top is None else question.top
    if question.threshold is not None and columns.shape[1] == _TWO:
        return _either(_probabilities(predictions, columns), question, question.threshold, top)
    least = question.threshold or 0.0
    return [
        Answer(
            classes=tuple(
                ClassAnswer(question.label(int(place)), int(place), float(scores[place]))
                for place in np.argsort(-scores, kind="stable")[:top]
                if scores[place] >= least
            )
        )
        for scores in _probabilities(predictions, columns)
    ]


def _either(scores: NDArray[np.float32], question: Question, threshold: float, top: int) -> list[Answer]:
    """Both of two classes; the second one comes first from the threshold on, as in the programs of bundles."""
    orders = [(1, 0) if second >= threshold else (0, 1) for second in scores[:, 1]]
    return [
        Answer(classes=tuple(ClassAnswer(question.label(at), at, float(row[at])) for at in order[:top]))
        for row, order in zip(scores, orders, strict=True)
    ]


def _probabilities(predictions: Predictions, columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of classes, float32 (pictures, classes), out of those or their logits."""
    if predictions.head != "logits":
        return columns
    # A softmax that cannot be read, beside ops that no Graph holds, shows in its values.
    within = bool(((columns >= 0) & (columns <= 1)).all())
    if within and bool((np.abs(columns.sum(axis=1) - 1) < _SUM_ERROR).all()):
        return columns
    powers = np.exp(columns - columns.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def object_answers(predictions: Predictions, seen: Sequence[Seen], question: Question) -> list[Answer]:
    """The objects of each picture, in its pixels, the surest first.

    Raises:
        InputError: The artifact is no detector, or one whose anchors are not known.
    """
    least = LEAST_SCORE if question.threshold is None else question.threshold
    answers = []
    for found, view in zip(found_in(predictions), seen, strict=True):
        left, top, right, bottom = view.part
        start, extent = np.array([top, left] * 2), np.array([bottom - top, right - left] * 2)
        rows = np.argsort(-found.scores, kind="stable")
        objects = [
            ObjectAnswer(question.label(index), index, float(found.scores[row]), (y1, x1, y2, x2))
            for row in rows[found.scores[rows] >= least][: question.top]
            for index in [int(found.classes[row])]
            for y1, x1, y2, x2 in [(start + found.corners[row] * extent).tolist()]
        ]
        answers.append(Answer(objects=tuple(objects)))
    return answers


def share_answers(predictions: Predictions, seen: Sequence[Seen], question: Question) -> list[Answer]:
    """The share that each class has of each picture, the largest first.

    Raises:
        InputError: The output is no map of classes.
    """
    answers = []
    for place, view in enumerate(seen):
        mask = mask_in(predictions, place, view)
        counts = np.bincount(mask[mask != IGNORE])
        shares = counts / max(int(counts.sum()), 1)
        rows = [
            ShareAnswer(question.label(int(index)), int(index), float(shares[index]))
            for index in np.argsort(-shares, kind="stable")
            if shares[index] > 0 and shares[index] >= (question.threshold or 0.0)
        ]
        answers.append(Answer(shares=tuple(rows[: question.top])))
    return answers


def mask_in(predictions: Predictions, place: int, view: Seen) -> NDArray[np.int64]:
    """The class of each pixel of a picture, int64 (height, width); `IGNORE` where the model does not see it.

    Args:
        predictions: Predictions of an artifact for some pictures.
        place: Place of the picture among them.
        view: The picture.

    Raises:
        InputError: The output is no map of classes.
    """
    output, (width, height) = predictions.outputs[place], view.size
    is_map = output.ndim == (2 if predictions.gives_indices else 3) and (
        predictions.gives_indices or 1 < output.shape[-1] <= IGNORE
    )
    if not is_map:
        raise InputError(
            f"{predictions.path} gives {'x'.join(map(str, output.shape))} a picture, no map of classes: height x width "
            f"x 2 to {IGNORE} scores, or height x width class indices; name what it is for with --task"
        )
    left, top, right, bottom = (round(edge) for edge in view.part)
    size = (max(bottom - top, 1), max(right - left, 1))
    found = enlarged(output, size, is_indices=predictions.gives_indices)
    if size == (height, width):
        return found
    mask = np.full((height, width), IGNORE, np.int64)
    mask[top : top + size[0], left : left + size[1]] = found
    return mask


def vector_answers(predictions: Predictions, _seen: Sequence[Seen], _asked: Question) -> list[Answer]:
    """The vector of each picture, and its cosine with the first one's."""
    vectors = predictions.outputs.reshape(len(predictions.outputs), -1).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    # 8 bits round the length that the model gave it.
    directions = vectors / np.maximum(lengths, 1e-12)[:, None]
    return [
        Answer(vector=VectorAnswer(float(own @ directions[0]), float(length), tuple(own.astype(np.float32).tolist())))
        for own, length in zip(directions, lengths, strict=True)
    ]
