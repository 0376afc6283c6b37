"""Multi-label classification: its batches, loss and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.training.augment import draw_tints, draw_warps, tint, warp
from mnedge.training.classify import Labelled, extract_copies, predictor
from mnedge.training.fit import Feed
from mnedge.training.learner import split_at_head
from mnedge.training.phases import Frozen, Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.training.settings import Augmentation, Schedule
    from mnedge.untyped import AnyArray

METRIC = "map"
# The head's first layer, which has no weights: what is behind it is what the frozen phase computes once.
_POOL = "head_pool"
_TINY = 1e-6
# A label in one of a hundred pictures does not drown out all others.
_MOST_WEIGHT = 10.0


@dataclass(frozen=True, eq=False)
class Tagged:
    """Pictures with labels, maybe in a mapped file.

    Attributes:
        pixels: uint8, (m, H, W, 3).
        rows: Rows that count: int64, (n,), n <= m.
        tags: Whether each label holds of each of those, bool, (n, labels).
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    tags: NDArray[np.bool_]

    @property
    def pictures(self) -> Labelled:
        """The pictures without their labels."""
        return Labelled(self.pixels, self.rows, np.zeros(self.rows.size, np.int64))


def tag(
    train: Tagged,
    held: Tagged,
    schedule: Schedule,
    new_layers: Collection[str],
    precision: Callable[[NDArray[np.float32], NDArray[np.bool_]], float],
) -> Objective:
    """Objective of a classifier whose labels do not exclude each other.

    Args:
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        held: Validation pictures at the network's resolution; all rows count.
        schedule: Settings of the run.
        new_layers: Names of the head's layers.
        precision: Mean average precision, 0..1, of probabilities and truths, both (pictures, labels).
    """
    size = held.pictures.size
    learning = frozenset(new_layers) - {_POOL}
    weights = np.ones((2, train.tags.shape[1]), np.float32)
    if schedule.class_weights == "balanced":
        weights = label_weights(train.tags)

    def scores(probabilities: NDArray[np.float32]) -> dict[str, float]:
        return {METRIC: precision(probabilities, held.tags), "loss": entropy(probabilities, held.tags)}

    def freeze(learner: keras.Model, progress: Callable[[float], None]) -> Frozen:
        backbone, head = split_at_head(learner, learning)
        copies, held_features = extract_copies(backbone, train.pictures, held.pictures, schedule, progress)
        return Frozen(head, _feature_feed(copies, train.tags), lambda model: scores(predictor(model)(held_features)))

    return Objective(
        metric=METRIC,
        loss=label_loss(weights, schedule.label_smoothing),
        feed=_picture_feed(train, schedule.augmentation, size),
        score=lambda model: scores(predictor(model)(held.pixels)),
        head=lambda learner: split_at_head(learner, learning)[1],
        freeze=freeze,
        predict_all=lambda learner: {"probabilities": predictor(learner)(held.pixels)},
    )


def label_weights(tags: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weights by which the no and the yes of each label count alike, float32, (2, labels), first those of the no.

    Args:
        tags: Labels of the training pictures, bool, (pictures, labels).
    """
    yes = tags.sum(axis=0)
    counts = np.maximum(np.stack([len(tags) - yes, yes]), 1)
    return np.asarray(np.minimum(len(tags) / (2 * counts), _MOST_WEIGHT), np.float32)


def label_loss(weights: NDArray[np.float32], smoothing: float) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Makes the loss: the mean over labels of their weighted binary cross entropy, float32 (n,).

    Args:
        weights: float32, (2, labels), see `label_weights`.
        smoothing: Share of a label that is given to yes and no alike.
    """

    def loss(truth: tf.Tensor, said: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        said = tf.clip_by_value(said, _TINY, 1.0 - _TINY)
        yes = truth * (1.0 - smoothing) + smoothing / 2
        each = yes * tf.math.log(said) + (1.0 - yes) * tf.math.log(1.0 - said)
        return -tf.reduce_mean(tf.where(truth > 0, weights[1], weights[0]) * each, axis=-1)

    return loss


def entropy(probabilities: NDArray[np.float32], tags: NDArray[np.bool_]) -> float:
    """The mean binary cross entropy of probabilities against labels, both (pictures, labels), in nats."""
    own = np.where(tags, probabilities, 1.0 - probabilities)
    return float(-np.log(np.clip(own, _TINY, 1.0)).mean())


def _picture_feed(train: Tagged, augmentation: Augmentation, size: tuple[int, int]) -> Feed:
    """Batches of augmented pictures."""
    pictures = train.pictures

    def draw(places: NDArray[np.int64], generator: np.random.Generator) -> tuple[AnyArray, ...]:
        warps = draw_warps(augmentation, places.size, (pictures.size, size), generator)
        tints = draw_tints(augmentation, places.size, generator)
        return pictures.take(places), warps, tints, train.tags[places].astype(np.float32)

    def prepare(
        pixels: tf.Tensor, warps: tf.Tensor, tints: tf.Tensor, tags: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return tint(warp(pixels, warps, size), tints), tags, _alike(tags)

    return Feed(train.rows.size, draw, prepare)


def _feature_feed(copies: Sequence[NDArray[np.float32]], tags: NDArray[np.bool_]) -> Feed:
    """Batches of features: each time, of one of a picture's augmented copies."""

    def draw(places: NDArray[np.int64], generator: np.random.Generator) -> tuple[AnyArray, ...]:
        chosen = zip(generator.integers(len(copies), size=places.size), places, strict=True)
        return np.stack([copies[copy][place] for copy, place in chosen]), tags[places].astype(np.float32)

    def prepare(features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return features, labels, _alike(labels)

    return Feed(len(tags), draw, prepare)


def _alike(tags: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.ones(tf.shape(tags)[0])
