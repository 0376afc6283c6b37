"""Classification: its batches, loss and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.data.balance import balanced_accuracy, counted, is_uneven
from mnedge.pixels import SYMMETRIC
from mnedge.training.augment import draw_tints, draw_warps, tint, warp
from mnedge.training.fit import Feed
from mnedge.training.forward import forward_of
from mnedge.training.learner import split_at_head
from mnedge.training.phases import Frozen, Objective
from mnedge.training.settings import Augmentation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.training.settings import Schedule
    from mnedge.untyped import AnyArray

METRIC, BALANCED = "top1", "balanced_accuracy"
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Labelled:
    """Labelled pictures that may lie in a mapped file, which is read row by row.

    Attributes:
        pixels: uint8, (m, H, W, 3).
        rows: Rows that count: int64, (n,), n <= m.
        labels: Class indices of those, int64, (n,).
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures, pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    def take(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pixels of the pictures at places 0 to n - 1."""
        return self.pixels[self.rows[places]]


def classify(
    train: Labelled,
    held: Labelled,
    classes: int,
    schedule: Schedule,
    notice: Callable[[NDArray[np.float32], NDArray[np.float32]], None],
    new_layers: Collection[str],
) -> Objective:
    """Objective of a classifier.

    Args:
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        held: Validation pictures at the network's resolution; all rows count.
        classes: Number of classes.
        schedule: Settings of the run.
        notice: Called with the plain features of the training and validation pictures where they are computed.
        new_layers: Names of the head's layers.
    """
    import keras

    size = held.size
    counts = np.ones(classes, np.float32)
    if schedule.class_weights == "balanced":
        counts = class_weights(train.labels, classes)

    def score(model: keras.Model) -> dict[str, float]:
        return scores(predictor(model)(held.pixels), held.labels)

    def freeze(learner: keras.Model, progress: Callable[[float], None]) -> Frozen:
        backbone, head = split_at_head(learner, new_layers)
        copies, held_features = extract_copies(backbone, train, held, schedule, progress)
        notice(copies[0], held_features)
        feed = feature_feed(copies, train.labels, counts)
        return Frozen(head, feed, lambda model: scores(predictor(model)(held_features), held.labels))

    return Objective(
        # Where some classes have few pictures, accuracy would choose an epoch that gives them up.
        metric=BALANCED if is_uneven(train.labels) else METRIC,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=schedule.label_smoothing),
        feed=picture_feed(train, counts, schedule.augmentation, size),
        score=score,
        head=lambda learner: split_at_head(learner, new_layers)[1],
        freeze=freeze,
        predict_all=lambda learner: {"probabilities": predictor(learner)(held.pixels)},
    )


def class_weights(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Weights by which every class counts alike: pictures / (classes x pictures of the class), float32, (classes,)."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(labels.size / (np.count_nonzero(counts) * np.maximum(counts, 1)), np.float32)


def picture_feed(
    pictures: Labelled, weights: NDArray[np.float32], augmentation: Augmentation, size: tuple[int, int]
) -> Feed:
    """Batches of augmented pictures.

    Args:
        pictures: Larger than the network's input by `augment.MARGIN`.
        weights: float32, (classes,): how much a picture of each class counts.
        augmentation: Augmentation of the pictures.
        size: Height and width of the network's input, pixels.
    """
    import tensorflow as tf

    def draw(places: NDArray[np.int64], generator: np.random.Generator) -> tuple[AnyArray, ...]:
        warps = draw_warps(augmentation, places.size, (pictures.size, size), generator)
        tints = draw_tints(augmentation, places.size, generator)
        labels = pictures.labels[places]
        return pictures.take(places), warps, tints, labels, weights[labels]

    def prepare(
        pixels: tf.Tensor, warps: tf.Tensor, tints: tf.Tensor, labels: tf.Tensor, counts: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return tint(warp(pixels, warps, size), tints), tf.one_hot(labels, weights.size), counts

    return Feed(pictures.labels.size, draw, prepare)


def feature_feed(
    copies: Sequence[NDArray[np.float32]], labels: NDArray[np.int64], weights: NDArray[np.float32]
) -> Feed:
    """Batches of features: each time, of one of a picture's augmented copies.

    Args:
        copies: Features of each picture, float32, (n, …), as often as there are copies.
        labels: int64, (n,).
        weights: float32, (classes,).
    """
    import tensorflow as tf

    def draw(places: NDArray[np.int64], generator: np.random.Generator) -> tuple[AnyArray, ...]:
        chosen = zip(generator.integers(len(copies), size=places.size), places, strict=True)
        features = np.stack([copies[copy][place] for copy, place in chosen])
        return features, labels[places], weights[labels[places]]

    def prepare(features: tf.Tensor, labels: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return features, tf.one_hot(labels, weights.size), counts

    return Feed(labels.size, draw, prepare)


def extract_copies(
    backbone: keras.Model, train: Labelled, held: Labelled, schedule: Schedule, progress: Callable[[float], None]
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Features of the training pictures, as they are and augmented, and of the validation pictures.

    Args:
        backbone: Takes float32 (n, height, width, 3).
        train: Training pictures, larger than the network's input.
        held: Validation pictures at the network's resolution.
        schedule: Settings of the run: copies, augmentation and seed.
        progress: Called with the done fraction.

    Returns:
        float32, (n, …) each: a list of `schedule.feature_copies`, the first of the pictures as they are; and one.
    """
    import tensorflow as tf

    size, generator = held.size, np.random.default_rng((schedule.seed, *b"features"))
    passes = schedule.feature_copies + 1

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator,unused-ignore]
    def features(pixels: tf.Tensor, warps: tf.Tensor, tints: tf.Tensor) -> tf.Tensor:
        return tf.cast(backbone(tint(warp(pixels, warps, size), tints), training=False), tf.float32)

    def extract(pictures: Labelled, augmentation: Augmentation, before: int) -> NDArray[np.float32]:
        parts, count = [], pictures.labels.size
        for start in range(0, count, _BATCH):
            places = np.arange(start, min(start + _BATCH, count))
            warps = draw_warps(augmentation, places.size, (pictures.size, size), generator)
            tints = draw_tints(augmentation, places.size, generator)
            parts.append(features(pictures.take(places), warps, tints).numpy())
            progress((before + (start + places.size) / count) / passes)
        return np.concatenate(parts)

    plain = Augmentation.of("none")
    augmentations = [plain, *[schedule.augmentation] * (schedule.feature_copies - 1)]
    copies = [extract(train, augmentation, place) for place, augmentation in enumerate(augmentations)]
    return copies, extract(held, plain, passes - 1)


def predictor(model: keras.Model) -> Callable[[AnyArray], NDArray[np.float32]]:
    """Makes the function from pictures (uint8) or features (float32), batch first, to probabilities, float32."""
    forward = forward_of(model)

    def predict(inputs: AnyArray) -> NDArray[np.float32]:
        parts = (inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH))
        return np.concatenate([
            np.asarray(forward(SYMMETRIC.real(part) if part.dtype == np.uint8 else part), np.float32) for part in parts
        ])  # fmt: skip

    return predict


def scores(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Top-1 and balanced accuracy, 0..1, and mean cross entropy in nats ("loss")."""
    own = np.clip(probabilities[np.arange(labels.size), labels], 1e-7, 1.0)
    return {
        METRIC: float((probabilities.argmax(1) == labels).mean()),
        BALANCED: balanced_accuracy(confusion(probabilities, labels)),
        "loss": float(-np.log(own).mean()),
    }


def confusion(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts predictions, int64, (classes, classes): row is the truth, column what was predicted."""
    return counted(probabilities.argmax(1), labels, probabilities.shape[1])
