"""Detection: which anchors stand for which boxes, the loss of codes and scores, and boxes that move with pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.anchors import PER_CELL, corners_of, decode_tensor, encode, iou
from mnedge.data.detections import detect as decode_objects
from mnedge.pixels import SYMMETRIC
from mnedge.training.augment import draw_tints, draw_warps, tint, warp
from mnedge.training.fit import Feed
from mnedge.training.forward import forward_of
from mnedge.training.learner import freeze_backbone
from mnedge.training.phases import Frozen, Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.data.boxes import Boxes
    from mnedge.data.detections import Decoding, Detections
    from mnedge.training.settings import Augmentation, Schedule
    from mnedge.untyped import AnyArray

METRIC = "map50"
_BATCH = 16
# Candidates of a box on each map (https://arxiv.org/abs/1912.02424, section 4.1; it hardly matters which, table 4).
_NEAREST = 9
# Weight of a score that is neither right nor wrong.
IGNORED = -1.0
# Varifocal loss: how fast easy background stops counting, how much it counts, and the least target of a matched anchor,
# which a new network's boxes would not reach (2008.13367, eq. 2; the paper's background counts 0.75).
_FOCUS, _BACKGROUND, _LEAST_QUALITY = 2.0, 0.5, 0.3
_BOX_WEIGHT = 2.0
# Less than this share of a box in the crop, and what is left of it teaches nothing.
_LEAST_VISIBLE = 0.5
# Crops enlarge: a detector that learns from crops alone misses small objects (https://arxiv.org/abs/1906.06423,
# section 3.1).
_LEAST_ZOOM = 0.8
# The backbone's own statistics are of photos, so they learn here: ImageNet's 0.999 would not keep up with the few steps
# of a small data set.
_NORM_MOMENTUM = 0.97


@dataclass(frozen=True, eq=False)
class Pictured:
    """Pictures with boxes.

    Attributes:
        pixels: uint8, (m, S, S, 3), maybe in a mapped file.
        boxes: Boxes of each picture, m of them.
        rows: Rows that count: int64, (n,).
    """

    pixels: NDArray[np.uint8]
    boxes: Sequence[Boxes]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class DetectScores:
    """Metric of detections against boxes.

    Attributes:
        precision: Mean average precision at IoU 0.5, 0..1.
        best_score: The score above which objects should be shown.
    """

    precision: Callable[[Sequence[Detections], Sequence[Boxes]], float]
    best_score: Callable[[Sequence[Detections], Sequence[Boxes]], float]


def detect(
    train: Pictured,
    held: Pictured,
    classes: int,
    decoding: Decoding,
    schedule: Schedule,
    new_layers: Collection[str],
    scoring: DetectScores,
) -> Objective:
    """Objective of a detector.

    Args:
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        held: Validation pictures at the network's resolution; all count.
        classes: Number of classes.
        decoding: The anchors.
        schedule: Settings of the run.
        new_layers: Names of the head's layers.
        scoring: Scores the boxes found against the boxes marked.
    """
    counts = np.ones(classes, np.float32)
    if schedule.class_weights == "balanced":
        counts = class_weights([train.boxes[row] for row in train.rows], classes)
    loss = detection_loss(decoding, counts)

    def evaluated(model: keras.Model) -> tuple[list[Detections], float]:
        """Scores of the validation pictures, and the loss as of one batch; part by part, for many classes."""
        predict, found, total, matched = predictor(model), [], 0.0, 0.0
        for start in range(0, len(held.boxes), _BATCH):
            marked = held.boxes[start : start + _BATCH]
            said = predict(held.pixels[start : start + _BATCH])
            wanted = np.stack([targets(one.corners, one.classes, one.crowd, counts, decoding) for one in marked])
            total += float(np.sum(loss(wanted, said)))
            matched += float(wanted[..., -1].sum())
            found += [decode_objects(one[:, classes:], one[:, :classes], decoding) for one in said]
        return found, total / max(matched, 1.0)

    def score(model: keras.Model) -> dict[str, float]:
        found, mean_loss = evaluated(model)
        return {METRIC: scoring.precision(found, held.boxes), "loss": mean_loss}

    augmentation = schedule.augmentation
    gentle = replace(augmentation, zoom=(max(_LEAST_ZOOM, augmentation.zoom[0]), augmentation.zoom[1]))
    feed = box_feed(train, counts, decoding, gentle, int(held.pixels.shape[1]))

    def freeze(learner: keras.Model, progress: Callable[[float], None]) -> Frozen:
        del progress
        freeze_backbone(learner, new_layers)
        return Frozen(with_joined_outputs(learner), feed, score)

    def predict_all(learner: keras.Model) -> dict[str, AnyArray]:
        found, _ = evaluated(with_joined_outputs(learner))
        return {
            "ends": np.cumsum([len(one.scores) for one in found]),
            "corners": np.concatenate([one.corners for one in found]),
            "classes": np.concatenate([one.classes for one in found]),
            "scores": np.concatenate([one.scores for one in found]),
            "best_score": np.array(scoring.best_score(found, held.boxes)),
        }

    return Objective(
        metric=METRIC,
        loss=loss,
        feed=feed,
        score=score,
        as_trained=with_joined_outputs,
        head=with_joined_outputs,
        freeze=freeze,
        predict_all=predict_all,
        norm_momentum=_NORM_MOMENTUM,
    )


def class_weights(boxes: Sequence[Boxes], classes: int) -> NDArray[np.float32]:
    """Returns the weight of an object of each class, float32, (classes,), by the root of its rarity.

    Average precision is a mean over classes, but where each counts alike the frequent ones lose more than the rare win.
    """
    marked = np.bincount(np.concatenate([one.classes[~one.crowd] for one in boxes]), minlength=classes)
    weights = marked.sum() / (max(np.count_nonzero(marked), 1) * np.maximum(marked, 1))
    return np.sqrt(np.where(marked > 0, weights, 1.0)).astype(np.float32)


def box_feed(
    pictures: Pictured, counts: NDArray[np.float32], decoding: Decoding, augmentation: Augmentation, side: int
) -> Feed:
    """Batches of pictures, moved and tinted, with the targets of every anchor.

    Args:
        pictures: Larger than the network's input by `augment.MARGIN`.
        counts: float32, (classes,): how much an object of each class counts.
        decoding: The anchors.
        augmentation: Augmentation of the pictures.
        side: Side of the network's input.
    """
    source = int(pictures.pixels.shape[1])

    def draw(places: NDArray[np.int64], generator: np.random.Generator) -> tuple[AnyArray, ...]:
        rows = pictures.rows[places]
        warps = draw_warps(augmentation, places.size, (source, side), generator)
        moved = [
            targets(*move(pictures.boxes[row], one, (source, side)), counts, decoding)
            for row, one in zip(rows, warps, strict=True)
        ]
        wanted = np.stack(moved)
        # The matched anchors of a batch are what its loss is a mean over, whatever picture they are in.
        matched = max(float(wanted[..., -1].sum()), 1.0)
        weights = np.full(places.size, places.size / matched, np.float32)
        tints = draw_tints(augmentation, places.size, generator)
        return pictures.pixels[rows], warps, tints, wanted, weights

    def prepare(
        pixels: tf.Tensor, warps: tf.Tensor, tints: tf.Tensor, wanted: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return tint(warp(pixels, warps, side, reflect=False), tints), wanted, weights

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
) -> NDArray[np.float32]:
    """Returns the targets of every anchor of a picture.

    Args:
        corners: Boxes, float32, (n, 4).
        labels: Their classes, int64, (n,).
        crowd: Boxes that are neither learned nor background, bool, (n,).
        counts: float32, (classes,): how much an object of each class counts.
        decoding: The anchors.

    Returns:
        float32, (anchors, classes + 5): for each class 1 where it is that of the anchor's box, 0 elsewhere, `IGNORED`
        where an anchor lies on a crowd; then the codes of the box, and how much it counts, 0 for background.
    """
    anchors = decoding.anchors
    wanted = np.zeros((len(anchors), counts.size + 5), np.float32)
    own = match(corners[~crowd], decoding)
    found = np.flatnonzero(own >= 0)
    of_class = labels[~crowd][own[found]]
    wanted[found, of_class] = 1.0
    wanted[found, counts.size : -1] = encode(corners[~crowd][own[found]], anchors[found])
    wanted[found, -1] = counts[of_class]
    if crowd.any():
        on_crowd = _share_within(corners_of(anchors), corners[crowd]) >= _LEAST_VISIBLE
        wanted[on_crowd & (own < 0), : counts.size] = IGNORED
    return wanted


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


def detection_loss(decoding: Decoding, counts: NDArray[np.float32]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Makes the loss of a detector: how sure it may be depends on how well its box fits.

    Boxes: 1 - generalized IoU (https://arxiv.org/abs/1902.09630, eq. 2), which measures what average precision
    measures and needs no balance between centre and extent codes. Scores: varifocal loss
    (https://arxiv.org/abs/2008.13367, eq. 2), a focal loss whose target is the IoU that the anchor's box reaches. Of
    two boxes on an object the better one ranks first then, which small objects need most.

    Args:
        decoding: The anchors.
        counts: float32, (classes,): how much an object of each class counts.

    Returns:
        Of targets (n, anchors, classes + 5), see `targets`, and what `with_joined_outputs` gives: float32, (n,).
    """
    anchors, classes = decoding.anchors, counts.size

    def loss(truth: tf.Tensor, said: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        wanted, codes, matched = truth[..., :classes], truth[..., classes:-1], truth[..., -1]
        meant, given = decode_tensor(codes, anchors), decode_tensor(said[..., classes:], anchors)
        plain, generalized = overlaps_of(meant, given)
        boxes = tf.reduce_sum((1.0 - generalized) * matched, axis=1)
        scores = tf.clip_by_value(said[..., :classes], 1e-6, 1.0 - 1e-6)
        quality = tf.stop_gradient(tf.maximum(plain, _LEAST_QUALITY))[..., None]
        entropy = -(quality * tf.math.log(scores) + (1.0 - quality) * tf.math.log(1.0 - scores))
        background = -_BACKGROUND * scores**_FOCUS * tf.math.log(1.0 - scores)
        each = tf.where(wanted > 0, counts * quality * entropy, tf.where(wanted < 0, 0.0, background))
        return _BOX_WEIGHT * boxes + tf.reduce_sum(each, axis=(1, 2))

    return loss


def overlaps_of(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """IoU, 0..1, and generalized IoU, -1..1, of boxes y1, x1, y2, x2: float32 (…, 4) twice gives (…) twice."""
    import tensorflow as tf

    def area(near: tf.Tensor, far: tf.Tensor) -> tf.Tensor:
        return tf.reduce_prod(tf.maximum(far - near, 0.0), axis=-1)

    shared = area(tf.maximum(first[..., :2], second[..., :2]), tf.minimum(first[..., 2:], second[..., 2:]))
    around = area(tf.minimum(first[..., :2], second[..., :2]), tf.maximum(first[..., 2:], second[..., 2:]))
    union = area(first[..., :2], first[..., 2:]) + area(second[..., :2], second[..., 2:]) - shared
    tiny = 1e-9
    plain = shared / (union + tiny)
    return plain, plain - (around - union) / (around + tiny)


def with_joined_outputs(learner: keras.Model) -> keras.Model:
    """The learner with one output, float32 (n, anchors, classes + 4): scores and codes meet in the loss."""
    import keras

    joined = keras.layers.Concatenate(axis=-1, dtype="float32", name="detections")(learner.outputs)
    return keras.Model(learner.inputs[0], joined)


def predictor(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Makes the function from pictures, uint8 (n, S, S, 3), to what the joined outputs say of them."""
    forward = forward_of(model)
    return lambda pixels: np.asarray(forward(SYMMETRIC.real(pixels)), np.float32)
