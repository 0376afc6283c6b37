from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tensorflow as tf

from mnedge.training.fit import Feed
from mnedge.training.mix import mixed

if TYPE_CHECKING:
    from mnedge.untyped import AnyArray


def _feed() -> Feed:
    """Four pictures, each of one brightness; class and weight go with it."""

    def draw(places: AnyArray, generator: np.random.Generator) -> tuple[AnyArray, ...]:
        del generator
        return (places.astype(np.float32),)

    def prepare(places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        targets = tf.one_hot(tf.cast(places, tf.int32), 4)
        return places[:, None, None, None] * tf.ones((1, 2, 2, 3)), targets, 10.0 * places

    return Feed(4, draw, prepare)


def test_pictures_targets_and_weights_are_blended_by_the_same_shares() -> None:
    feed = mixed(_feed(), 0.5)
    places = np.arange(4)
    inputs, targets, weights = feed.prepare(*map(tf.constant, feed.draw(places, np.random.default_rng(1))))
    targets = np.asarray(targets)
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)
    # The picture's own class has the larger share, and the last picture is the first one's partner.
    assert (targets.argmax(axis=1) == places).all()
    assert (targets[0] > 0).tolist() == [True, False, False, True]
    brightness = targets @ np.arange(4.0)
    np.testing.assert_allclose(np.asarray(inputs)[:, 0, 0, 0], brightness, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(weights), 10.0 * brightness, rtol=1e-5)


@pytest.mark.parametrize("concentration", [0.2, 1.0])
def test_shares_have_the_distribution(concentration: float) -> None:
    from scipy import stats

    shares = mixed(_feed(), concentration).draw(np.zeros(4000, np.int64), np.random.default_rng(0))[0]
    halves = stats.beta(concentration, concentration)
    # The larger share of a symmetric distribution is its upper half.
    for share in (0.6, 0.75, 0.9, 0.99):
        assert (shares < share).mean() == pytest.approx(2 * halves.cdf(share) - 1, abs=0.03)
    assert shares.min() >= 0.5


def test_without_blends_the_feed_stays_as_it_is() -> None:
    feed = _feed()
    assert mixed(feed, 0.0) is feed
