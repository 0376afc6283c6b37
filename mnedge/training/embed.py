"""Embedding: the margin loss that draws a class together, and its scores."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from mnedge.training.classify import class_weights, picture_feed, predictor
from mnedge.training.learner import freeze_backbone
from mnedge.training.phases import Frozen, Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.training.classify import Labelled
    from mnedge.training.settings import Schedule

METRIC = "roc_auc"
_SCALE, _MARGIN = 24.0, 0.25
_BEFORE_CENTRES, _CENTRES = "before_centres", "class_centres"


def embed(
    train: Labelled,
    held: Labelled,
    classes: int,
    schedule: Schedule,
    new_layers: Collection[str],
    figures: Callable[[NDArray[np.float32], NDArray[np.int64]], dict[str, float]],
) -> Objective:
    """Objective of an embedding: pictures of one class close together.

    Args:
        train: Training pictures, larger than the network's input by `augment.MARGIN`.
        held: Validation pictures at the network's resolution.
        classes: Number of classes of the training pictures; the network's outputs are dimensions, not classes.
        schedule: Settings of the run.
        new_layers: Names of the head's layers.
        figures: `METRIC` and more, of embeddings and labels.
    """
    import keras

    counts = np.ones(classes, np.float32)
    if schedule.class_weights == "balanced":
        counts = class_weights(train.labels, classes)

    # The same model each time one is scored, so that it is traced once.
    without_centres = cache(_without_centres)

    def embeddings(model: keras.Model) -> NDArray[np.float32]:
        return predictor(without_centres(model))(held.pixels)

    def score(model: keras.Model) -> dict[str, float]:
        found = figures(embeddings(model), held.labels)
        # There is no loss on pictures whose classes the centres may not know.
        return {**found, "loss": 1.0 - found[METRIC]}

    feed = picture_feed(train, counts, schedule.augmentation, held.size)

    def with_centres(learner: keras.Model) -> keras.Model:
        # Layers with weights are shared by all forms of the learner; this one is each form's own.
        found = keras.layers.Identity(name=_BEFORE_CENTRES)(learner.outputs[0])
        layer = keras.layers.Dense(classes, use_bias=False, kernel_constraint="unit_norm", name=_CENTRES)
        return keras.Model(learner.inputs[0], layer(found))

    def freeze(learner: keras.Model, progress: Callable[[float], None]) -> Frozen:
        del progress
        freeze_backbone(learner, {*new_layers, _CENTRES})
        return Frozen(learner, feed, score)

    return Objective(
        metric=METRIC,
        loss=margin_loss,
        feed=feed,
        score=score,
        extend=with_centres,
        head=lambda learner: learner,
        freeze=freeze,
        predict_all=lambda learner: {"embeddings": embeddings(learner)},
    )


def _without_centres(model: keras.Model) -> keras.Model:
    import keras

    names = [layer.name for layer in model.layers]
    return keras.Model(model.inputs[0], model.get_layer(_BEFORE_CENTRES).output) if _BEFORE_CENTRES in names else model


def margin_loss(labels: tf.Tensor, cosines: tf.Tensor) -> tf.Tensor:
    """Cross entropy in which a picture's own class has to win by a margin, float32 (n,).

    Wang et al. 2018, CosFace, https://arxiv.org/abs/1801.09414, eq. 4.

    Args:
        labels: One-hot, float32 (n, classes).
        cosines: Between embeddings and the centres of the classes, float32 (n, classes).
    """
    import tensorflow as tf

    return tf.nn.softmax_cross_entropy_with_logits(labels, _SCALE * (cosines - _MARGIN * labels))
