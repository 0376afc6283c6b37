"""Decodes a detector's raw outputs into objects: the reference for the post-processing inside files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mnedge.data.anchors import decode, place_anchors
from mnedge.errors import InputError
from mnedge.foreign import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray

# The name under which files carry their anchors.
METADATA = "MNEDGE_DETECTION"


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found in a picture, the surest first.

    Attributes:
        corners: float32, (n, 4): y1, x1, y2, x2 in fractions of the picture, cut at its edge.
        classes: int64, (n,).
        scores: float32, (n,), 0..1.
    """

    corners: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Decoding:
    """Decoding of raw outputs into objects.

    Attributes:
        sides: Height and width of each feature map in cells.
        shapes: float32, (maps, per cell, 2), heights and widths of the anchors.
        least_score: Lowest score of a reported object.
        overlap: IoU above which the less sure one of two boxes of a class is dropped.
        most: Objects reported in a picture.
    """

    sides: Sequence[tuple[int, int]]
    shapes: NDArray[np.float32]
    least_score: float = 0.02
    overlap: float = 0.5
    most: int = 100

    @property
    def anchors(self) -> NDArray[np.float32]:
        """float32, (anchors, 4): centre y, centre x, height, width."""
        return place_anchors(self.sides, self.shapes)

    def as_json(self) -> dict[str, object]:
        """The settings as JSON values; float32 shapes survive the way there and back."""
        return {
            "sides": [list(side) for side in self.sides],
            "shapes": [[[float(value) for value in shape] for shape in own] for own in self.shapes],
            "least_score": self.least_score,
            "overlap": self.overlap,
            "most": self.most,
        }

    @classmethod
    def of_json(cls, told: dict[str, Any]) -> Decoding:
        """Reads the JSON of `as_json`.

        Raises:
            InputError: It is damaged.
        """
        try:
            sides = tuple((int(height), int(width)) for height, width in told["sides"])
            shapes = np.array(told["shapes"], np.float32)
            made = cls(sides, shapes, float(told["least_score"]), float(told["overlap"]), int(told["most"]))
            is_whole = shapes.shape == (len(sides), shapes.shape[1], 2) and bool((shapes > 0).all())
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as exc:
            raise InputError(f"the anchors of a detector are broken ({exc}); build or train it again") from exc
        if not is_whole:
            raise InputError(f"the anchors of a detector are broken (shape {shapes.shape}); build or train it again")
        return made


def metadata_of(decoding: Decoding) -> bytes:
    """Metadata of a decoding, as files carry it."""
    return json.dumps(decoding.as_json(), sort_keys=True, separators=(",", ":")).encode()


def of_metadata(content: bytes) -> Decoding:
    """Reads the metadata of `metadata_of`.

    Raises:
        InputError: It is damaged.
    """
    try:
        told: Any = parse_json(content)
    except ValueError as exc:
        raise InputError(f"the anchors of a detector are broken ({exc}); build or train it again") from exc
    return Decoding.of_json(told)


class Anchored(Protocol):
    """Arguments of `detect` from a decoding; see `Decoding`."""

    @property
    def anchors(self) -> NDArray[np.float32]:
        """float32, (anchors, 4): centre y, centre x, height, width."""
        ...

    @property
    def least_score(self) -> float:
        """Lowest score of a reported object."""
        ...

    @property
    def overlap(self) -> float:
        """IoU above which the less sure one of two boxes of a class is dropped."""
        ...

    @property
    def most(self) -> int:
        """Objects reported in a picture."""
        ...


def detect(boxes: NDArray[np.float32], scores: NDArray[np.float32], decoding: Anchored) -> Detections:
    """Decodes boxes and drops those that overlap a surer one of their class (non-maximum suppression).

    Args:
        boxes: Codes, float32, (anchors, 4).
        scores: float32, (anchors, classes), 0..1.
        decoding: The anchors and limits.
    """
    corners = decode(boxes, decoding.anchors)
    found = []
    for index in range(scores.shape[1]):
        rows = np.flatnonzero(scores[:, index] >= decoding.least_score)
        kept = rows[suppress(corners[rows], scores[rows, index], decoding.most, decoding.overlap)]
        found += [(float(scores[row, index]), index, row) for row in kept]
    found = sorted(found, key=lambda one: (-one[0], one[1], one[2]))[: decoding.most]
    rows = np.array([row for _, _, row in found], np.int64)
    return Detections(
        corners=np.clip(corners[rows], 0.0, 1.0).astype(np.float32),
        classes=np.array([index for _, index, _ in found], np.int64),
        scores=np.array([score for score, _, _ in found], np.float32),
    )


def suppress(corners: NDArray[np.float32], scores: NDArray[np.float32], most: int, overlap: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: places of the boxes that stay, the surest first; ties go to the earlier one.

    Args:
        corners: float32, (n, 4): y1, x1, y2, x2.
        scores: float32, (n,).
        most: Boxes that may stay.
        overlap: IoU above which a box is dropped.
    """
    order = np.argsort(-scores, kind="stable")
    near, far = corners[order, :2], corners[order, 2:]
    areas = np.maximum(far - near, 0).prod(axis=1)
    waiting = np.ones(order.size, bool)
    kept: list[int] = []
    for place in range(order.size):
        if not waiting[place]:
            continue
        kept.append(place)
        if len(kept) == most:
            break
        later = slice(place + 1, None)
        sides = np.minimum(far[later], far[place]) - np.maximum(near[later], near[place])
        shared = np.maximum(sides, 0).prod(axis=1)
        # As a product, so that nothing is divided by empty boxes.
        waiting[later] &= shared <= overlap * (areas[later] + areas[place] - shared)
    return order[kept].astype(np.int64)


def of_postprocess(outputs: Sequence[AnyArray]) -> Detections:
    """Reads the four outputs of TFLite_Detection_PostProcess.

    Args:
        outputs: Boxes (1, n, 4), class indices (1, n), scores (1, n) and how many of them count (1,); float32.
    """
    corners, classes, scores, count = (np.asarray(output) for output in outputs)
    valid = slice(0, int(count.reshape(-1)[0]))
    return Detections(
        corners=np.clip(corners.reshape(-1, 4)[valid], 0.0, 1.0).astype(np.float32),
        classes=classes.reshape(-1)[valid].astype(np.int64),
        scores=scores.reshape(-1)[valid].astype(np.float32),
    )
