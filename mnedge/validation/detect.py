"""Average precision of detections, as COCO counts it, and the pictures that were met worst."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.data.anchors import iou

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.data.boxes import Boxes
    from mnedge.data.detections import Detections

_MATCH = 0.5
_MOST = 100
_RESAMPLED = 200
_WORST = 10


def average_precisions(
    detections: Sequence[Detections], truths: Sequence[Boxes], classes: Sequence[str]
) -> dict[str, Any]:
    """Average precision by `pycocotools`, over at most 100 objects of a class in a picture.

    Args:
        detections: What was found in each picture.
        truths: What is marked in each picture; crowds are neither found nor missed.
        classes: Class names.

    Returns:
        {map50, map, classes: [{class, boxes, ap50, ap}]}: means over the classes at IoU 0.5 and over IoU 0.5 to 0.95
        in steps of 0.05; None for a class without boxes, which the means leave out.
    """
    precision = _precision(detections, truths, len(classes))
    boxes = np.bincount(np.concatenate([_counted(truth) for truth in truths]), minlength=len(classes))
    rows = []
    for place, name in enumerate(classes):
        # pycocotools writes -1 where there is nothing to find.
        of_class = precision[:, :, place]
        is_known = boxes[place] > 0
        rows.append({
            "class": name,
            "boxes": int(boxes[place]),
            "ap50": float(of_class[0].mean()) if is_known else None,
            "ap": float(of_class.mean()) if is_known else None,
        })  # fmt: skip
    known = [row for row in rows if row["boxes"]]
    return {
        "map50": float(np.mean([row["ap50"] for row in known])) if known else 0.0,
        "map": float(np.mean([row["ap"] for row in known])) if known else 0.0,
        "classes": rows,
    }


def _counted(truth: Boxes) -> NDArray[np.int64]:
    return truth.classes[~truth.crowd]


def _precision(detections: Sequence[Detections], truths: Sequence[Boxes], classes: int) -> NDArray[np.float64]:
    """Precision at 101 recalls: float64, (IoU thresholds, 101, classes)."""
    evaluation = _evaluated(detections, truths, classes)
    return np.zeros((10, 101, classes)) if evaluation is None else _accumulated(evaluation)


def _evaluated(
    detections: Sequence[Detections], truths: Sequence[Boxes], classes: int, *, overlaps: Sequence[float] = ()
) -> Any:  # noqa: ANN401 - a COCOeval
    """Matches detections with truths at the IoUs of COCO or those given; None where nothing was found."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results: list[dict[str, Any]] = []
    marked: list[dict[str, Any]] = []
    for number, (found, truth) in enumerate(zip(detections, truths, strict=True), start=1):
        rows = _coco_rows(number, found.corners, found.classes, truth)
        results += [{**row, "score": float(score)} for row, score in zip(rows, found.scores, strict=True)]
        for row, crowd in zip(_coco_rows(number, truth.corners, truth.classes, truth), truth.crowd, strict=True):
            width, height = row["bbox"][2:]
            marked.append({**row, "id": len(marked) + 1, "area": width * height, "iscrowd": int(crowd)})
    if not results:
        return None
    # It tells of its progress on stdout, which belongs to results.
    with redirect_stdout(StringIO()):
        truth_set = COCO()
        truth_set.dataset = {
            "info": {},
            "images": [{"id": number} for number in range(1, len(truths) + 1)],
            "annotations": marked,
            "categories": [{"id": number} for number in range(1, classes + 1)],
        }
        truth_set.createIndex()
        evaluation = COCOeval(truth_set, truth_set.loadRes(results), "bbox")
        evaluation.params.maxDets = [_MOST]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        if overlaps:
            evaluation.params.iouThrs = np.array(overlaps)
        evaluation.evaluate()
    return evaluation


def _accumulated(evaluation: Any) -> NDArray[np.float64]:  # noqa: ANN401 - a COCOeval
    with redirect_stdout(StringIO()):
        evaluation.accumulate()
    precision: NDArray[np.float64] = evaluation.eval["precision"][:, :, :, 0, 0]
    return precision


def _coco_rows(
    number: int, corners: NDArray[np.float32], classes: NDArray[np.int64], truth: Boxes
) -> list[dict[str, Any]]:
    """Boxes in pixels of the picture as it came: sizes in COCO's measure are of that."""
    width, height = truth.size
    y1, x1, y2, x2 = (corners.astype(np.float64) * [height, width, height, width]).T
    boxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).tolist()
    return [
        {"image_id": number, "category_id": int(index) + 1, "bbox": box}
        for box, index in zip(boxes, classes, strict=True)
    ]


def errors(found: Detections, truth: Boxes, least_score: float) -> dict[str, int]:
    """Counts what is right and wrong in a picture: {right, missed, wrong}.

    Each object above a score is matched, the surest first, with the marked box of its class that it overlaps most, by
    an IoU of at least 0.5; what lies mostly in a crowd counts neither way.
    """
    open_boxes = ~truth.crowd
    right = wrong = 0
    overlaps = iou(found.corners, truth.corners)
    for place in np.flatnonzero(found.scores >= least_score):
        same = truth.classes == found.classes[place]
        fitting = np.where(open_boxes & same, overlaps[place], 0.0)
        if fitting.size and fitting.max() >= _MATCH:
            open_boxes[fitting.argmax()] = False
            right += 1
        elif not _in_crowd(found.corners[place], truth.corners[truth.crowd & same]):
            wrong += 1
    return {"right": right, "missed": int(open_boxes.sum()), "wrong": wrong}


def _in_crowd(corners: NDArray[np.float32], crowds: NDArray[np.float32]) -> bool:
    if not len(crowds):
        return False
    near, far = np.maximum(corners[:2], crowds[:, :2]), np.minimum(corners[2:], crowds[:, 2:])
    shared = np.maximum(far - near, 0).prod(axis=1)
    return bool(shared.max() >= _MATCH * max(float((corners[2:] - corners[:2]).prod()), 1e-12))


def best_score(detections: Sequence[Detections], truths: Sequence[Boxes]) -> float:
    """The score above which objects should be shown: where right ones and errors balance best (F1 of all classes)."""
    scores = np.linspace(0.05, 0.95, 19)

    def f1(score: float) -> float:
        counts = [errors(found, truth, score) for found, truth in zip(detections, truths, strict=True)]
        right = sum(count["right"] for count in counts)
        return 2 * right / max(1, 2 * right + sum(count["missed"] + count["wrong"] for count in counts))

    return float(scores[int(np.argmax([f1(score) for score in scores]))])


def worst(
    detections: Sequence[Detections], truths: Sequence[Boxes], least_score: float, most: int = _WORST
) -> list[tuple[int, dict[str, int]]]:
    """Places and counts of the pictures with the most errors, the worst first."""
    counts = [errors(found, truth, least_score) for found, truth in zip(detections, truths, strict=True)]
    wrong = np.array([count["missed"] + count["wrong"] for count in counts])
    return [(int(place), counts[place]) for place in np.argsort(-wrong, kind="stable")[:most] if wrong[place]]


def bootstrap(
    detections: Sequence[Detections], truths: Sequence[Boxes], classes: Sequence[str], seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of map50: percentiles over resampled pictures (Efron 1979, Ann. Stat. 7, section 2)."""
    evaluation = _evaluated(detections, truths, len(classes), overlaps=[_MATCH])
    if evaluation is None:
        return 0.0, 0.0
    generator = np.random.default_rng(seed)
    # pycocotools keeps what it found class by class, and in each picture by picture.
    matched = np.array(evaluation.evalImgs, object).reshape(len(classes), len(truths))
    means = []
    for _ in range(_RESAMPLED):
        evaluation.evalImgs = matched[:, generator.integers(len(truths), size=len(truths))].ravel().tolist()
        of_class = _accumulated(evaluation)[0].mean(axis=0)
        # -1 where there is nothing to find.
        means.append(of_class[of_class >= 0].mean() if (of_class >= 0).any() else 0.0)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
