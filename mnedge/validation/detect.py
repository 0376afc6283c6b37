"""Average precision of detections, as COCO counts it; missed objects, and the worst pictures."""

from __future__ import annotations

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from mnedge.data.anchors import iou
from mnedge.data.boxes import Boxes
from mnedge.data.detections import METADATA, detect, of_metadata, of_postprocess
from mnedge.errors import InputError
from mnedge.foreign import is_folder
from mnedge.formats.carried import carried
from mnedge.results.accuracy import Figures, MixUp, WorstPicture
from mnedge.results.compilation import read_compiled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pycocotools.cocoeval import COCOeval

    from mnedge.data.dataset import Dataset
    from mnedge.data.detections import Decoding, Detections
    from mnedge.validation.predict import Predictions

_MATCH = 0.5
# Outputs of post-processing in the file: boxes, classes, scores, count.
_POSTPROCESSED = 4
_SHOWN = 0.3
_MOST = 100
_RESAMPLED = 200
_WORST = 10


@dataclass(frozen=True)
class ClassPrecision:
    """Average precision of a class: its boxes, and the precision at IoU 0.5 and over IoU 0.5 to 0.95."""

    name: str
    boxes: int
    ap50: float | None
    ap: float | None


@dataclass(frozen=True)
class AveragePrecisions:
    """Means over the classes at IoU 0.5 and over IoU 0.5 to 0.95 in steps of 0.05, and the classes."""

    map50: float
    map: float
    classes: tuple[ClassPrecision, ...]


def detect_figures(predictions: Predictions, dataset: Dataset) -> Figures:
    """Mean average precision with its interval, that of each class, and the worst pictures.

    Raises:
        InputError: The artifact is no detector, or one whose anchors are not in the file.
    """
    found = found_in(predictions)
    assert dataset.truths is not None, "detections are held against boxes"
    truths = [dataset.truths(number, 0) for number in predictions.numbers.tolist()]
    figures = average_precisions(found, truths, dataset.classes)
    pictures = tuple(
        WorstPicture(dataset.sources[predictions.numbers[place]], counts)
        for place, counts in worst(found, truths, best_score(found, truths))
    )
    return Figures(
        {"map50": figures.map50, "map": figures.map},
        {"map50": bootstrap(found, truths, dataset.classes)},
        {"ap50": {row.name: row.ap50 for row in figures.classes}},
        pictures,
    )


def found_in(predictions: Predictions) -> list[Detections]:
    """The objects in each picture, of raw scores and boxes, or of the four outputs of post-processing in the file.

    Raises:
        InputError: The outputs are neither, or the file does not carry the anchors of its raw boxes.
    """
    check_decodable(predictions)
    outputs = (predictions.outputs, *predictions.others)
    if len(outputs) == _POSTPROCESSED:
        return [of_postprocess(one) for one in zip(*outputs, strict=True)]
    decoding = decoding_of(predictions.path)
    count = outputs[0].shape[1]
    if len(decoding.anchors) != count:
        raise InputError(f"{predictions.path} carries {len(decoding.anchors)} anchors for {count}; build it again")
    return [detect(boxes, scores, decoding) for scores, boxes in zip(*outputs, strict=True)]


def check_decodable(predictions: Predictions) -> None:
    """Makes sure that objects can be read from outputs.

    Raises:
        InputError: They are neither raw scores and boxes nor those of post-processing, or the file does not carry the
            anchors of its raw boxes.
    """
    outputs = (predictions.outputs, *predictions.others)
    if len(outputs) == _POSTPROCESSED:
        return
    shapes = [output.shape[1:] for output in outputs]
    is_raw = len(outputs) == 2 and all(len(shape) == 2 for shape in shapes) and shapes[0][0] == shapes[1][0]
    if is_raw and 4 in (shapes[0][1], shapes[1][1]):
        decoding_of(predictions.path)
    if not is_raw or shapes[1][1] != 4:
        told = ", ".join("x".join(map(str, shape)) or "one number" for shape in shapes)
        raise InputError(
            f"{predictions.path} is no detector: its outputs are {told}; they are scores (anchors x classes) and boxes "
            "(anchors x 4), or boxes, classes, scores and count"
        )


def same_objects(one: Predictions, two: Predictions) -> NDArray[np.float64]:
    """Share of the objects of each picture that two artifacts both find, float64, (pictures,); 1 where neither does.

    Objects with a score of at least 0.3 count, and are the same where class and place are (IoU at least 0.5).
    """
    shares = []
    for first, second in zip(found_in(one), found_in(two), strict=True):
        sure = [found.scores >= _SHOWN for found in (first, second)]
        reference = Boxes(second.corners[sure[1]], second.classes[sure[1]], np.zeros(sure[1].sum(), bool), (1, 1))
        both = errors(first, reference, _SHOWN)["right"]
        count = int(sure[0].sum() + sure[1].sum())
        shares.append(2 * both / count if count else 1.0)
    return np.array(shares)


def decoding_of(path: Path) -> Decoding:
    """The anchors that a .tflite, an .onnx, an .ort or a folder of C sources carries.

    Raises:
        InputError: It carries none.
    """
    content: bytes | None = None
    if is_folder(path):
        told = read_compiled(path).metadata.get(METADATA)
        content = None if told is None else told.encode()
    else:
        content = carried(path, METADATA)
    if content is None:
        raise InputError(
            f"{path} does not carry the anchors of its boxes ({METADATA}), so they cannot be decoded; build it again, "
            "give a file with post-processing in it, or tell `mnedge validate` or `predict` --anchors FILE.json"
        )
    return of_metadata(content)


def average_precisions(
    detections: Sequence[Detections], truths: Sequence[Boxes], classes: Sequence[str]
) -> AveragePrecisions:
    """Average precision by `pycocotools`, over at most 100 objects of a class in a picture.

    Args:
        detections: Detections of each picture.
        truths: Annotations of each picture; crowds are neither found nor missed.
        classes: Class names.

    Returns:
        Means over the classes, and the classes; a class without boxes has None, and the means leave it out.
    """
    precision = _precision(detections, truths, len(classes))
    boxes = np.bincount(np.concatenate([_counted(truth) for truth in truths]), minlength=len(classes))
    rows = []
    for place, name in enumerate(classes):
        # pycocotools writes -1 where there is nothing to find.
        of_class = precision[:, :, place]
        is_known = boxes[place] > 0
        ap50, ap = (float(of_class[0].mean()), float(of_class.mean())) if is_known else (None, None)
        rows.append(ClassPrecision(name, int(boxes[place]), ap50, ap))
    at_half = [row.ap50 for row in rows if row.ap50 is not None]
    over_all = [row.ap for row in rows if row.ap is not None]
    means = (float(np.mean(at_half)), float(np.mean(over_all))) if at_half else (0.0, 0.0)
    return AveragePrecisions(*means, tuple(rows))


class _CocoRow(TypedDict):
    """A box as pycocotools takes it: left, top, width and height in pixels."""

    image_id: int
    category_id: int
    bbox: list[float]


def _counted(truth: Boxes) -> NDArray[np.int64]:
    return truth.classes[~truth.crowd]


def _precision(detections: Sequence[Detections], truths: Sequence[Boxes], classes: int) -> NDArray[np.float64]:
    """Precision at 101 recalls: float64, (IoU thresholds, 101, classes)."""
    evaluation = _evaluated(detections, truths, classes)
    return np.zeros((10, 101, classes)) if evaluation is None else _accumulated(evaluation)


def _evaluated(
    detections: Sequence[Detections], truths: Sequence[Boxes], classes: int, *, overlaps: Sequence[float] = ()
) -> COCOeval | None:
    """Matches detections with truths at the IoUs of COCO or those given; None where nothing was found."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results: list[dict[str, object]] = []
    marked: list[dict[str, object]] = []
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


def _accumulated(evaluation: COCOeval) -> NDArray[np.float64]:
    with redirect_stdout(StringIO()):
        evaluation.accumulate()
    precision: NDArray[np.float64] = evaluation.eval["precision"][:, :, :, 0, 0]
    return precision


def _coco_rows(number: int, corners: NDArray[np.float32], classes: NDArray[np.int64], truth: Boxes) -> list[_CocoRow]:
    """Boxes in pixels of the picture as it came: sizes in COCO's measure are of that."""
    width, height = truth.size
    y1, x1, y2, x2 = (corners.astype(np.float64) * [height, width, height, width]).T
    boxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1).tolist()
    return [
        {"image_id": number, "category_id": int(index) + 1, "bbox": box}
        for box, index in zip(boxes, classes, strict=True)
    ]


def errors(found: Detections, truth: Boxes, least_score: float) -> dict[str, int]:
    """Counts the objects of a picture: {right, missed, wrong}.

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


def mixups(
    detections: Sequence[Detections],
    truths: Sequence[Boxes],
    classes: Sequence[str],
    least_score: float,
    most: int = 10,
) -> list[MixUp]:
    """Returns the mix-ups, misses and false alarms, the most frequent first.

    Args:
        detections: Detections of each picture.
        truths: Annotations of each picture.
        classes: Class names.
        least_score: Objects below it are not looked at.
        most: Rows.

    Returns:
        Mix-ups; "nothing" stands for what is not marked, and for what was not found.
    """
    counts = np.stack([
        _confusion(found, truth, len(classes), least_score) for found, truth in zip(detections, truths, strict=True)
    ])  # fmt: skip
    total = counts.sum(axis=0)
    names = [*classes, "nothing"]
    off = total - np.diag(total.diagonal())
    rows = []
    for place in np.argsort(-off, axis=None, kind="stable")[:most]:
        truth, predicted = divmod(int(place), len(names))
        if off[truth, predicted]:
            images = int(np.count_nonzero(counts[:, truth, predicted]))
            fraction = float(off[truth, predicted] / total[truth].sum())
            rows.append(MixUp(names[truth], names[predicted], images, fraction, int(off[truth, predicted])))
    return rows


def _confusion(found: Detections, truth: Boxes, classes: int, least_score: float) -> NDArray[np.int64]:
    """Counts the pairs of a picture, int64 (classes + 1, classes + 1): row is the truth, the last one is nothing."""
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    open_boxes = ~truth.crowd
    overlaps = iou(found.corners, truth.corners)
    for place in np.flatnonzero(found.scores >= least_score):
        index = found.classes[place]
        fitting = np.where(open_boxes, overlaps[place], 0.0)
        if fitting.size and fitting.max() >= _MATCH:
            # Among boxes in one place, the one of the right class.
            fitting += np.where((fitting >= _MATCH) & (truth.classes == index), 1.0, 0.0)
            open_boxes[fitting.argmax()] = False
            counts[truth.classes[fitting.argmax()], index] += 1
        elif not _in_crowd(found.corners[place], truth.corners[truth.crowd]):
            counts[classes, index] += 1
    counts[:classes, classes] = np.bincount(truth.classes[open_boxes], minlength=classes)
    return counts


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
