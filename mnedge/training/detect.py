"""Detection: which anchors stand for which boxes, the loss of codes and scores, and boxes that move with pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.data._dataset import to_real
from mnedge.data.anchors import PER_CELL, corners_of, decode_tensor, encode, iou
from mnedge.data.detections import detect as decode_objects
from mnedge.training.augment import draw_tints, draw_warps, tint, warp
from mnedge.training.fit import Feed
from mnedge.training.learner import freeze_backbone
from mnedge.training.phases import Frozen, Lesson

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import keras
    from numpy.typing import NDArray

    from mnedge.data.boxes import Boxes
    from mnedge.data.detections import Decoding, Detections
    from mnedge.training.settings import Augmentation, Schedule

METRIC = "map50"
_BATCH = 16
# Candidates of a box on each map (https://arxiv.org/abs/1912.02424, section 4.1; it hardly matters which, table 4).
_NEAREST = 9
# Of a score that is neither right nor wrong.
IGNORED = -1.0
# Focal loss: how fast easy anchors stop counting, and the share of the objects (1708.02002, eq. 5, table 1b).
_FOCUS, _BALANCE = 2.0, 0.5
_BOX_WEIGHT = 2.0
# Less than this share of a box in the crop, and what is left of it teaches nothing.
_LEAST_VISIBLE = 0.5
# The backbone's own statistics are of photos; they learn here, and have to keep up with few steps.
_NORM_MOMENTUM = 0.97


@dataclass(frozen=True, eq=False)
class Pictured:
    """Pictures with boxes.

    Attributes:
        pixels: uint8, (m, S, S, 3), maybe in a mapped file.
        boxes: Of each picture, m of them.
        rows: Which of them count: int64, (n,).
    """

    pixels: NDArray[np.uint8]
    boxes: Sequence[Boxes]
    rows: NDArray[np.int64]


def detect(
    train: Pictured,
    held: Pictured,
    classes: int,
    decoding: Decoding,
    schedule: Schedule,
    new_layers: Collection[str],
    precision_of: Callable[[Sequence[Detections], Sequence[Boxes]], float],
) -> Lesson:
    """The lesson of finding objects.

    Args:
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        held: Validation pictures at the network's resolution; all count.
        classes: How many.
        decoding: The anchors.
        schedule: Settings of the run.
        new_layers: Names of the head's layers.
        precision_of: Mean average precision at IoU 0.5 of what was found against what is marked.
    """
    counts = np.ones(classes, np.float32)
    if schedule.class_weights == "balanced":
        counts = class_weights([train.boxes[row] for row in train.rows], classes)
    losses = [score_loss(counts), box_loss(decoding.anchors)]
    held_targets = [targets(boxes.corners, boxes.classes, boxes.crowd, counts, decoding) for boxes in held.boxes]

    def score(model: keras.Model) -> dict[str, float]:
        scores, boxes = predictor(model)(held.pixels)
        found = [decode_objects(*raw, decoding) for raw in zip(boxes, scores, strict=True)]
        return {METRIC: precision_of(found, held.boxes), "loss": _mean_loss(losses, held_targets, scores, boxes)}

    feed = box_feed(train, counts, decoding, schedule.augmentation, int(held.pixels.shape[1]))

    def freeze(learner: keras.Model, told: Callable[[float], None]) -> Frozen:
        del told
        freeze_backbone(learner, new_layers)
        return Frozen(learner, feed, score)

    def judge(learner: keras.Model) -> dict[str, NDArray[Any]]:
        scores, boxes = predictor(learner)(held.pixels)
        # The account of a training is made without its network.
        return {"scores": scores, "boxes": boxes, "sides": np.array(decoding.sides), "shapes": decoding.shapes}

    return Lesson(
        metric=METRIC,
        loss=losses,
        feed=feed,
        score=score,
        head=lambda learner: learner,
        freeze=freeze,
        judge=judge,
        norm_momentum=_NORM_MOMENTUM,
    )


def class_weights(boxes: Sequence[Boxes], classes: int) -> NDArray[np.float32]:
    """Weights by which every class counts alike in the training boxes: float32, (classes,); 1 for one without any."""
    marked = np.bincount(np.concatenate([one.classes[~one.crowd] for one in boxes]), minlength=classes)
    weights = marked.sum() / (max(np.count_nonzero(marked), 1) * np.maximum(marked, 1))
    return np.where(marked > 0, weights, 1.0).astype(np.float32)


def box_feed(
    pictures: Pictured, counts: NDArray[np.float32], decoding: Decoding, augmentation: Augmentation, side: int
) -> Feed:
    """Batches of pictures, moved and tinted, with the targets of every anchor.

    Args:
        pictures: Larger than the network's input by `augment.MARGIN`.
        counts: float32, (classes,): how much an object of each class counts.
        decoding: The anchors.
        augmentation: How they are moved and tinted.
        side: Of the network's input.
    """
    source = int(pictures.pixels.shape[1])

    def draw(places: NDArray[np.int64], generator: np.random.Generator) -> tuple[NDArray[Any], ...]:
        rows = pictures.rows[places]
        warps = draw_warps(augmentation, places.size, (source, side), generator)
        moved = [
            targets(*move(pictures.boxes[row], one, (source, side)), counts, decoding)
            for row, one in zip(rows, warps, strict=True)
        ]
        scores, codes = (np.stack(part) for part in zip(*moved, strict=True))
        # The matched anchors of a batch are what its loss is a mean over, whatever picture they are in.
        matched = max(float(codes[..., 4].sum()), 1.0)
        weights = np.full(places.size, places.size / matched, np.float32)
        tints = draw_tints(augmentation, places.size, generator)
        return pictures.pixels[rows], warps, tints, scores, codes, weights

    def prepare(pixels: Any, warps: Any, tints: Any, scores: Any, codes: Any, weights: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401
        return tint(warp(pixels, warps, side, reflect=False), tints), (scores, codes), weights

    return Feed(pictures.rows.size, draw, prepare)


def move(
    boxes: Boxes, warp: NDArray[np.float32], sides: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Moves boxes as `augment.warp` moves their picture.

    A turned box becomes the box around the turned ellipse that fills it: the box around its turned corners would grow
    beyond the object (https://arxiv.org/abs/2109.13488, section 3). What sticks out of the crop is cut off; a box of
    which less than half is left is treated like a crowd, neither learned nor background.

    Args:
        boxes: In fractions of the picture.
        warp: float32, (8,), see `augment.draw_warps`.
        sides: Side of the input and of the output, pixels.

    Returns:
        Corners in fractions of the output, classes, and which are like crowds, of the boxes that are still to be seen.
    """
    source, side = sides
    back = np.array([[warp[4], warp[3]], [warp[1], warp[0]]], np.float64)
    onward = np.linalg.inv(back)
    corners = boxes.corners.astype(np.float64) * source
    # Pixel centres are at whole numbers for the warp, and at halves for boxes.
    centres = (corners[:, :2] + corners[:, 2:]) / 2 - 0.5 - np.array([warp[5], warp[2]])
    centres = (centres @ onward.T + 0.5) / side
    halves = np.sqrt(((corners[:, 2:] - corners[:, :2]) / 2) ** 2 @ (onward.T**2)) / side
    whole = np.concatenate([centres - halves, centres + halves], axis=1)
    cut = np.clip(whole, 0.0, 1.0)
    visible = (cut[:, 2:] - cut[:, :2]).prod(axis=1) / (4 * halves.prod(axis=1))
    kept = visible > 0
    crowd = boxes.crowd | (visible < _LEAST_VISIBLE)
    return cut[kept].astype(np.float32), boxes.classes[kept], crowd[kept]


def targets(
    corners: NDArray[np.float32],
    labels: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    counts: NDArray[np.float32],
    decoding: Decoding,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What every anchor should say of a picture.

    Args:
        corners: Boxes, float32, (n, 4).
        labels: Their classes, int64, (n,).
        crowd: Which of them are neither learned nor background, bool, (n,).
        counts: float32, (classes,): how much an object of each class counts.
        decoding: The anchors.

    Returns:
        Scores, float32, (anchors, classes): 1 for the class of the anchor's box, 0 elsewhere, `IGNORED` where an
        anchor lies on a crowd; and codes with how much they count, float32, (anchors, 5).
    """
    anchors = decoding.anchors
    codes = np.zeros((len(anchors), 5), np.float32)
    scores = np.zeros((len(anchors), counts.size), np.float32)
    own = match(corners[~crowd], decoding)
    found = own >= 0
    codes[found, :4] = encode(corners[~crowd][own[found]], anchors[found])
    of_class = labels[~crowd][own[found]]
    codes[found, 4] = counts[of_class]
    scores[found, of_class] = 1.0
    if crowd.any():
        scores[~found & (_share_within(corners_of(anchors), corners[crowd]) >= _LEAST_VISIBLE)] = IGNORED
    return scores, codes


def match(corners: NDArray[np.float32], decoding: Decoding) -> NDArray[np.int64]:
    """Gives every box its anchors, by how well the nearest ones fit it (https://arxiv.org/abs/1912.02424, alg. 1).

    A fixed IoU, as SSD has it, leaves objects smaller than a cell with hardly an anchor. Here the anchors nearest to
    a box's centre are candidates on every map, and those count whose IoU is at least the mean of all candidates' plus
    their standard deviation, and whose centre lies in the box. A box without any takes the anchor of the highest IoU.

    Args:
        corners: Boxes, float32, (n, 4).
        decoding: The anchors.

    Returns:
        The place of each anchor's box, or -1: int64, (anchors,).
    """
    anchors = decoding.anchors
    if not len(corners):
        return np.full(len(anchors), -1, np.int64)
    overlaps = iou(corners_of(anchors), corners)
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    distances = np.sqrt(((anchors[:, None, :2] - centres) ** 2).sum(axis=2))
    candidates = np.zeros(overlaps.shape, bool)
    start = 0
    for height, width in decoding.sides:
        own = slice(start, start + height * width * PER_CELL)
        # Anchors of one cell are all as near; the better fitting one comes first.
        order = np.argsort(distances[own] - 1e-3 * overlaps[own], axis=0, kind="stable")[:_NEAREST]
        np.put_along_axis(candidates[own], order, values=True, axis=0)
        start = own.stop
    fits = np.where(candidates, overlaps, np.nan)
    thresholds = np.nanmean(fits, axis=0) + np.nanstd(fits, axis=0)
    is_inside = ((anchors[:, None, :2] > corners[:, :2]) & (anchors[:, None, :2] < corners[:, 2:])).all(axis=2)
    fitting = np.where(candidates & (overlaps >= thresholds) & is_inside, overlaps, 0.0)
    best = np.where(fitting.max(axis=1) > 0, fitting.argmax(axis=1), -1)
    for lonely in np.setdiff1d(np.arange(len(corners)), best):
        best[overlaps[:, lonely].argmax()] = lonely
    return best.astype(np.int64)


def _share_within(boxes: NDArray[np.float32], regions: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest share of each box's area that lies in one of the regions, float32, (n,)."""
    near, far = np.maximum(boxes[:, None, :2], regions[:, :2]), np.minimum(boxes[:, None, 2:], regions[:, 2:])
    shared = np.maximum(far - near, 0).prod(axis=2).max(axis=1)
    return np.asarray(shared / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), np.float32)


def box_loss(anchors: NDArray[np.float32]) -> Callable[[Any, Any], Any]:
    """Makes the loss of codes: 1 - generalized IoU (https://arxiv.org/abs/1902.09630, eq. 2) of the boxes they mean.

    It measures what average precision measures, and needs no balance between centre and extent codes.

    Args:
        anchors: float32, (anchors, 4).

    Returns:
        Of targets (n, anchors, 5), see `targets`, and codes (n, anchors, 4): float32, (n,).
    """

    def loss(truth: Any, codes: Any) -> Any:  # noqa: ANN401 - tensors
        import tensorflow as tf

        meant, said = decode_tensor(truth[..., :4], anchors), decode_tensor(codes, anchors)
        return _BOX_WEIGHT * tf.reduce_sum((1.0 - generalized_iou(meant, said)) * truth[..., 4], axis=1)

    return loss


def generalized_iou(first: Any, second: Any) -> Any:  # noqa: ANN401 - tensors
    """Generalized IoU, -1..1, of boxes y1, x1, y2, x2: float32 (…, 4) twice gives (…)."""
    import tensorflow as tf

    def area(near: Any, far: Any) -> Any:  # noqa: ANN401 - tensors
        return tf.reduce_prod(tf.maximum(far - near, 0.0), axis=-1)

    shared = area(tf.maximum(first[..., :2], second[..., :2]), tf.minimum(first[..., 2:], second[..., 2:]))
    around = area(tf.minimum(first[..., :2], second[..., :2]), tf.maximum(first[..., 2:], second[..., 2:]))
    union = area(first[..., :2], first[..., 2:]) + area(second[..., :2], second[..., 2:]) - shared
    tiny = 1e-9
    return shared / (union + tiny) - (around - union) / (around + tiny)


def score_loss(counts: NDArray[np.float32]) -> Callable[[Any, Any], Any]:
    """Makes the loss of scores: focal loss (https://arxiv.org/abs/1708.02002, eq. 5), summed over anchors and classes.

    Args:
        counts: float32, (classes,): how much an object of each class counts.

    Returns:
        Of targets (n, anchors, classes), see `targets`, and scores of that shape, 0..1: float32, (n,).
    """

    def loss(truth: Any, scores: Any) -> Any:  # noqa: ANN401 - tensors
        import tensorflow as tf

        scores = tf.clip_by_value(scores, 1e-6, 1.0 - 1e-6)
        right = tf.where(truth > 0, scores, 1.0 - scores)
        balance = tf.where(truth > 0, _BALANCE * counts, 1.0 - _BALANCE)
        each = -balance * (1.0 - right) ** _FOCUS * tf.math.log(right)
        return tf.reduce_sum(tf.where(truth < 0, 0.0, each), axis=(1, 2))

    return loss


def _mean_loss(
    losses: Sequence[Callable[[Any, Any], Any]],
    truth: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    *outputs: NDArray[np.float32],
) -> float:
    """The loss of the whole split, as of one batch."""
    total, matched = 0.0, max(1.0, sum(float(codes[:, 4].sum()) for _, codes in truth))
    for start in range(0, len(truth), _BATCH):
        parts = (np.stack(part) for part in zip(*truth[start : start + _BATCH], strict=True))
        for loss, wanted, said in zip(losses, parts, outputs, strict=True):
            total += float(np.sum(loss(wanted, said[start : start + _BATCH])))
    return total / matched


def predictor(model: keras.Model) -> Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Makes the function from pictures, uint8 (n, S, S, 3), to the raw outputs: scores and codes, batch first."""
    import tensorflow as tf

    forward = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)

    def predict(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        parts = [forward(to_real(pixels[start : start + _BATCH])) for start in range(0, len(pixels), _BATCH)]
        scores, boxes = (np.concatenate([np.asarray(part) for part in output]) for output in zip(*parts, strict=True))
        return scores, boxes

    return predict
