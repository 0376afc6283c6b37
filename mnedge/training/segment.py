"""Segmentation: its batches, loss and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.masks import IGNORE
from mnedge.pixels import SYMMETRIC
from mnedge.training.augment import draw_tints, draw_warps, tint, warp, warp_masks
from mnedge.training.fit import Feed
from mnedge.training.forward import forward_of
from mnedge.training.learner import freeze_backbone
from mnedge.training.phases import Frozen, Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.training.settings import Augmentation, Schedule
    from mnedge.untyped import AnyArray

METRIC = "mean_iou"
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Masked:
    """Pictures with masks, both maybe in mapped files.

    Attributes:
        pixels: uint8, (m, S, S, 3).
        masks: uint8, (m, S, S), class indices and `IGNORE`.
        rows: Rows that count: int64, (n,).
    """

    pixels: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class SegmentScores:
    """Metric of a segmentation.

    Attributes:
        iou: Mean IoU of a pixel confusion.
        confusion: Pixel confusion of a class map, int64 (H, W), and a mask.
        worst: Places of the pictures that were met worst, and their IoU, of the confusion of each.
    """

    iou: Callable[[NDArray[np.int64]], float]
    confusion: Callable[[NDArray[np.int64], NDArray[np.uint8]], NDArray[np.int64]]
    worst: Callable[[NDArray[np.int64]], list[tuple[int, float]]]


def segment(
    train: Masked, held: Masked, schedule: Schedule, new_layers: Collection[str], scores: SegmentScores
) -> Objective:
    """Objective of a segmenter: the class of each pixel.

    Args:
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        held: Validation pictures at the network's resolution.
        schedule: Settings of the run.
        new_layers: Names of the head's layers.
        scores: Scores of a prediction.
    """

    def confusions(model: keras.Model) -> tuple[NDArray[np.int64], float]:
        logits = predictor(model)
        counted, losses = [], []
        for start in range(0, len(held.pixels), _BATCH):
            part = logits(held.pixels[start : start + _BATCH])
            masks = held.masks[start : start + _BATCH]
            losses.append(cross_entropy(masks, part).numpy())
            counted += [scores.confusion(found.argmax(-1), mask) for found, mask in zip(part, masks, strict=True)]
        return np.stack(counted), float(np.mean(np.concatenate(losses)))

    def score(model: keras.Model) -> dict[str, float]:
        counted, loss = confusions(model)
        return {METRIC: scores.iou(counted.sum(0)), "loss": loss}

    def predict_all(model: keras.Model) -> dict[str, AnyArray]:
        counted, _ = confusions(model)
        places = np.array([place for place, _ in scores.worst(counted)], np.int64)
        maps = [predictor(model)(held.pixels[place : place + 1])[0].argmax(-1).astype(np.uint8) for place in places]
        return {"confusions": counted, "worst": places, "maps": np.stack(maps)}

    feed = mask_feed(train, schedule.augmentation, held.pixels.shape[1])

    def freeze(learner: keras.Model, progress: Callable[[float], None]) -> Frozen:
        del progress
        freeze_backbone(learner, new_layers)
        return Frozen(learner, feed, score)

    return Objective(
        metric=METRIC,
        loss=cross_entropy,
        feed=feed,
        score=score,
        head=lambda learner: learner,
        freeze=freeze,
        predict_all=predict_all,
    )


def mask_feed(pictures: Masked, augmentation: Augmentation, side: int) -> Feed:
    """Batches of pictures and masks, moved by the same map.

    Args:
        pictures: Larger than the network's input by `augment.MARGIN`.
        augmentation: Augmentation of the pictures.
        side: Side of the network's input.
    """

    def draw(places: NDArray[np.int64], generator: np.random.Generator) -> tuple[AnyArray, ...]:
        rows = pictures.rows[places]
        warps = draw_warps(augmentation, places.size, (pictures.pixels.shape[1], side), generator)
        return pictures.pixels[rows], pictures.masks[rows], warps, draw_tints(augmentation, places.size, generator)

    def prepare(
        pixels: tf.Tensor, masks: tf.Tensor, warps: tf.Tensor, tints: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        import tensorflow as tf

        weights = tf.ones(tf.shape(pixels)[0])
        return tint(warp(pixels, warps, side), tints), warp_masks(masks, warps, side), weights

    return Feed(pictures.rows.size, draw, prepare)


def cross_entropy(masks: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross entropy of each picture's counted pixels, float32 (n,).

    Args:
        masks: Integers (n, H, W); `IGNORE` does not count.
        logits: float32 (n, H, W, classes).
    """
    import tensorflow as tf

    masks = tf.cast(masks, tf.int32)
    counts = tf.cast(masks != IGNORE, tf.float32)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(masks == IGNORE, 0, masks), logits)
    return tf.reduce_sum(entropy * counts, (1, 2)) / tf.maximum(tf.reduce_sum(counts, (1, 2)), 1.0)


def predictor(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Makes the function from pictures, uint8 (n, S, S, 3), to logits, float32 (n, S, S, classes)."""
    forward = forward_of(model)
    return lambda pixels: np.asarray(forward(SYMMETRIC.real(pixels)), np.float32)
