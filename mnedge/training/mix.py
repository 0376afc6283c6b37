"""Blends of two pictures and of their targets, from which a classifier learns to be less sure of what it has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.training.fit import Feed

if TYPE_CHECKING:
    import tensorflow as tf

    from mnedge.untyped import AnyArray


def mixed(feed: Feed, concentration: float) -> Feed:
    """Batches in which each picture is blended with another of its batch, and its target and weight likewise.

    The share of the first is drawn from Beta(concentration, concentration); as either picture may be called the
    first, it is the larger one. Zhang et al. 2018, mixup, https://arxiv.org/abs/1710.09412, eq. 1 and 2.

    Args:
        feed: Batches of inputs, float32 (n, height, width, 3), targets, float32 (n, classes), and weights (n,).
        concentration: Both parameters of the distribution; 0 for no blends.
    """
    if concentration == 0:
        return feed

    def draw(places: AnyArray, generator: np.random.Generator) -> tuple[AnyArray, ...]:
        arrays = feed.draw(places, generator)
        share = generator.beta(concentration, concentration, places.size)
        return (np.maximum(share, 1 - share).astype(np.float32), *arrays)

    def prepare(share: tf.Tensor, *arrays: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        inputs, targets, weights = feed.prepare(*arrays)
        return (
            _blend(inputs, share[:, None, None, None]),
            _blend(targets, share[:, None]),
            _blend(weights, share),
        )

    return Feed(feed.count, draw, prepare)


def _blend(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Each row with the one as far from the end of the batch; the order of a batch is random."""
    import tensorflow as tf

    return share * values + (1.0 - share) * tf.reverse(values, [0])
