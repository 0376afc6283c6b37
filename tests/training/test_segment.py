"""Segmentation's loss against Keras', and that a mask moves with its picture."""

from __future__ import annotations

import numpy as np
import pytest

from mnedge.data.masks import IGNORE
from mnedge.training.augment import draw_warps, warp, warp_masks
from mnedge.training.segment import cross_entropy
from mnedge.training.settings import Augmentation


def test_the_loss_is_keras_cross_entropy_over_counted_pixels() -> None:
    import keras

    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, 6, 5, 4)).astype(np.float32)
    masks = generator.integers(0, 4, (3, 6, 5)).astype(np.uint8)
    masks[generator.random(masks.shape) < 0.3] = IGNORE
    masks[2] = IGNORE
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=IGNORE)
    expected = [float(loss(mask[None], found[None])) for mask, found in zip(masks[:2], logits[:2], strict=True)]
    # A picture of which nothing counts costs nothing.
    assert np.asarray(cross_entropy(masks, logits)) == pytest.approx([*expected, 0.0], rel=1e-5)


def test_a_mask_moves_with_its_picture() -> None:
    generator = np.random.default_rng(1)
    masks = np.zeros((8, 50, 50), np.uint8)
    masks[:, 10:30, 20:45] = 1
    pixels = np.repeat(masks[..., None] * 255, 3, axis=3)
    warps = draw_warps(Augmentation.of("default"), 8, (50, 40), generator)
    moved = np.asarray(warp(pixels, warps, 40))[..., 0]
    found = np.asarray(warp_masks(masks, warps, 40))
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 1}
    # Away from the edges, where a bilinear picture is between the two.
    certain = np.abs(moved) > 0.99
    assert certain.mean() > 0.7
    assert ((moved > 0) == (found == 1))[certain].all()
