from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnedge.training.folded import folded
from mnedge.training.learner import unfreeze


def _network(variant: str) -> keras.Model:
    if variant == "v3-small":
        backbone = keras.applications.MobileNetV3Small(
            (32, 32, 3), alpha=0.35, minimalistic=True, include_top=False, weights=None, pooling="avg",
            include_preprocessing=False,
        )  # fmt: skip
    else:
        backbone = keras.applications.MobileNetV2(
            (32, 32, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
        )
    return keras.Model(backbone.input, keras.layers.Dense(3, name="top")(backbone.output))


def _own() -> keras.Model:
    """Convolutions with biases, channels that a depthwise one multiplies, and norms without scale or shift."""
    image = keras.Input((8, 8, 3))
    made = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    made = keras.layers.BatchNormalization(scale=False)(made)
    made = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, dilation_rate=2, padding="same")(made)
    made = keras.layers.BatchNormalization(center=False)(made)
    read_twice = keras.layers.Conv2D(8, 1, name="read_twice")(made)
    made = keras.layers.Add()([keras.layers.BatchNormalization()(read_twice), read_twice])
    swished = keras.layers.Conv2D(8, 1, activation="relu", name="activated")(made)
    made = keras.layers.BatchNormalization()(swished)
    return keras.Model(image, keras.layers.Dense(3, name="top")(keras.layers.GlobalAveragePooling2D()(made)))


def _settled(model: keras.Model) -> keras.Model:
    """Random weights and statistics."""
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, value.shape) * np.where(value == 0, 0.3, 1) * np.where(
        np.ndim(value) > 1, random.choice([-0.3, 0.3], value.shape), 1) for value in model.get_weights()])  # fmt: skip
    return model


def _gradients(model: keras.Model, images: Any) -> dict[str, Any]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(images, training=True)))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    return {variable.path: np.asarray(slope) for variable, slope in zip(variables, gradients, strict=True)}


@pytest.mark.parametrize("make", [lambda: _network("v2"), lambda: _network("v3-small"), _own], ids=["v2", "v3", "own"])
def test_outputs_and_gradients_are_the_learners(make: Any) -> None:
    learner = _settled(make())
    unfreeze(learner, None, batch_norm=False, new_layers=["top"])
    twin = folded(learner)
    assert twin is not learner
    assert {id(variable) for variable in twin.trainable_variables} == {
        id(variable) for variable in learner.trainable_variables
    }
    side = learner.input_shape[1]
    images = np.random.default_rng(1).uniform(-1, 1, (4, side, side, 3)).astype(np.float32)
    expected, found = (np.asarray(model(images, training=True)) for model in (learner, twin))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    wanted, slopes = _gradients(learner, images), _gradients(twin, images)
    assert wanted.keys() == slopes.keys()
    for path, slope in wanted.items():
        np.testing.assert_allclose(slopes[path], slope, rtol=1e-3, atol=2e-3 * np.abs(slope).max() + 1e-12)


def test_only_frozen_norms_behind_plain_convolutions_are_folded() -> None:
    learner = _own()
    unfreeze(learner, None, batch_norm=False, new_layers=["top"])
    kinds = {layer.name: type(layer).__name__ for layer in folded(learner).layers}
    assert kinds["read_twice"] == kinds["activated"] == "Conv2D"
    assert sorted(kinds.values()).count("Folded") == 2


def test_a_learner_whose_norms_learn_stays_as_it_is() -> None:
    learner = _network("v2")
    unfreeze(learner, None, batch_norm=True, new_layers=["top"])
    assert folded(learner) is learner


def test_what_the_folded_form_learns_the_learner_knows() -> None:
    learner = _settled(_own())
    unfreeze(learner, None, batch_norm=False, new_layers=["top"])
    twin = folded(learner)
    images = np.random.default_rng(1).uniform(-1, 1, (16, 8, 8, 3)).astype(np.float32)
    before = np.asarray(learner(images))
    twin.compile("adam", "mse")
    twin.fit(images, np.ones((16, 3), np.float32), epochs=2, verbose=0)
    after = np.asarray(learner(images))
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(np.asarray(twin(images)), after, rtol=1e-4, atol=1e-4)


def test_a_learner_may_be_compiled_with_a_loss_of_ones_own() -> None:
    """The head's phase compiles it before the fine-tuning folds it."""

    def squares(wanted: Any, found: Any) -> Any:
        return keras.ops.mean(keras.ops.square(wanted - found))

    learner = _own()
    learner.compile("adam", squares)
    unfreeze(learner, None, batch_norm=False, new_layers=["top"])
    assert not folded(learner).compiled
