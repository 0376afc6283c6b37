"""Raw boxes of detectors that others made: their anchors come from a file beside the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.anchors import CENTRE_SCALE, EXTENT_SCALE
from mnedge.data.detections import detect
from mnedge.errors import InputError
from mnedge.foreign import parse_json, read_file
from mnedge.runtimes import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray
    from mnedge.validation.predict import Predictions

_COORDINATES = 4
_LARGEST_BYTES = 64 << 20
_FORM = (
    'it is {"anchors": [[centre y, centre x, height, width], …]} in fractions of the picture, one row a box of the '
    'model and in its order; besides, where they are others: "centre_scale": 10, "extent_scale": 5, "activation": '
    '"none" (or "sigmoid", "softmax"), "least_score": 0.02, "overlap": 0.5, "most": 100'
)


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


_ACTIVATIONS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "none": lambda scores: scores,
    "sigmoid": lambda scores: np.asarray(1 / (1 + np.exp(-scores)), np.float32),
    "softmax": _softmax,
}


@dataclass(frozen=True, eq=False)
class ListedAnchors:
    """Decoding of the raw outputs of a foreign detector.

    Attributes:
        anchors: float32, (anchors, 4): centre y, centre x, height, width in fractions of the picture.
        centre_scale: Factor of the codes of centres, https://arxiv.org/abs/1512.02325, eq. 2.
        extent_scale: Factor of the codes of heights and widths.
        activation: Function that makes shares of the scores: "none", "sigmoid" or "softmax".
        least_score: Lowest score that is reported.
        overlap: IoU above which the less sure one of two boxes of a class is dropped.
        most: Objects reported in a picture.
    """

    anchors: NDArray[np.float32]
    centre_scale: float = CENTRE_SCALE
    extent_scale: float = EXTENT_SCALE
    activation: str = "none"
    least_score: float = 0.02
    overlap: float = 0.5
    most: int = 100


def read_anchors(path: Path) -> ListedAnchors:
    """Reads a JSON file of anchors.

    Raises:
        InputError: It cannot be read, or holds something else.
    """
    try:
        told = parse_json(read_file(path, _LARGEST_BYTES))
        if not isinstance(told, dict):
            raise TypeError("it is no object")  # noqa: TRY301 - told with the others
        anchors = np.array(told.pop("anchors"), np.float32)
        kinds = {"activation": str, "most": int}
        listed = ListedAnchors(anchors, **{name: kinds.get(name, float)(value) for name, value in told.items()})
    except InputError as exc:
        raise InputError(f"--anchors: {exc}; {_FORM}") from exc
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise InputError(f"--anchors {path} holds no anchors ({exc!r}); {_FORM}") from exc
    is_table = anchors.ndim == 2 and anchors.shape[1] == _COORDINATES and bool(np.isfinite(anchors).all())
    if not is_table or not bool((anchors[:, 2:] > 0).all()):
        shape = "x".join(map(str, anchors.shape))
        raise InputError(f"--anchors {path} holds a table of {shape}, or heights and widths below 0; {_FORM}")
    if listed.activation not in _ACTIVATIONS:
        raise InputError.unknown(f"activation in {path}", listed.activation, _ACTIVATIONS)
    if min(listed.centre_scale, listed.extent_scale, listed.most) <= 0:
        raise InputError(f"--anchors {path}: centre_scale, extent_scale and most are above 0; {_FORM}")
    return listed


def scores_and_boxes(predictions: Predictions, listed: ListedAnchors) -> Predictions:
    """Returns a detector's scores as shares, and its boxes in this project's code.

    Args:
        predictions: Two outputs in either order: boxes (pictures, anchors, 4) and scores (pictures, anchors, classes).
        listed: Their anchors.

    Raises:
        InputError: The outputs are others, there is another number of anchors, or the scores are no shares.
    """
    outputs = [
        output.reshape(len(output), -1, output.shape[-1]) for output in (predictions.outputs, *predictions.others)
    ]
    if len(outputs) != 2 or _COORDINATES not in (output.shape[2] for output in outputs):
        told = ", ".join("x".join(map(str, output.shape[1:])) for output in (predictions.outputs, *predictions.others))
        raise InputError(
            f"{predictions.path} gives {told}; --anchors is for detectors that give boxes (anchors x 4) and scores "
            "(anchors x classes): leave it out, or cut the model at those two"
        )
    order = (0, 1) if outputs[1].shape[2] == _COORDINATES else (1, 0)
    scores, boxes = (outputs[place] for place in order)
    if not len(listed.anchors) == scores.shape[1] == boxes.shape[1]:
        raise InputError(
            f"{predictions.path} gives {boxes.shape[1]} boxes and {scores.shape[1]} scores, but there are "
            f"{len(listed.anchors)} anchors; give the anchors of this model and input size"
        )
    shares = _ACTIVATIONS[listed.activation](scores)
    # int8 may reach a step beyond.
    if shares.min() < -1 / 128 or shares.max() > 1 + 1 / 128:
        raise InputError(
            f"{predictions.path} gives scores from {shares.min():.3g} to {shares.max():.3g}, which are no shares of 1; "
            f'say in the file of anchors what makes shares of them: "activation": "sigmoid" or "softmax"'
        )
    codes = boxes * np.repeat([CENTRE_SCALE / listed.centre_scale, EXTENT_SCALE / listed.extent_scale], 2)
    info = replace(predictions.info, outputs=tuple(predictions.info.outputs[place] for place in order))
    return replace(predictions, outputs=shares, others=(codes.astype(np.float32),), info=info)


def decoded(predictions: Predictions, listed: ListedAnchors) -> Predictions:
    """Decodes as post-processing inside the file would: boxes, classes, scores and count.

    Args:
        predictions: Result of `scores_and_boxes`, in the classes of the data.
        listed: The anchors.
    """
    count, most = len(predictions.outputs), listed.most
    boxes = np.zeros((count, most, _COORDINATES), np.float32)
    classes, scores = np.zeros((count, most), np.float32), np.zeros((count, most), np.float32)
    found = np.zeros((count, 1), np.float32)
    for place, (shares, codes) in enumerate(zip(predictions.outputs, predictions.others[0], strict=True)):
        objects = detect(codes, shares, listed)
        valid = slice(0, len(objects.scores))
        boxes[place, valid], classes[place, valid] = objects.corners, objects.classes
        scores[place, valid], found[place] = objects.scores, len(objects.scores)
    arrays: dict[str, AnyArray] = {"boxes": boxes, "classes": classes, "scores": scores, "count": found}
    specs = tuple(TensorSpec(name, (1, *array.shape[1:]), "float32") for name, array in arrays.items())
    return replace(
        predictions,
        outputs=boxes,
        others=(classes, scores, found),
        step_size=0.0,
        info=replace(predictions.info, outputs=specs),
    )
