"""A model of anybody's in the form that learns: the copy says what the model says, and only the head is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from mnedge.errors import UnsupportedError
from mnedge.pixels import SYMMETRIC, Pixels
from mnedge.training.own_model import head_of, is_untrained, own_learner, with_new_head

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZE = (12, 16)
layers = keras.layers


def _backbone(channels: int = 3) -> keras.Model:
    image = keras.Input((*_SIZE, channels))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, use_bias=False)(image))
    return keras.Model(image, layers.ReLU()(x), name="backbone")


def _tutorial() -> keras.Model:
    image = keras.Input((*_SIZE, 3))
    x = layers.RandomRotation(0.1)(layers.RandomFlip()(image))
    x = layers.GlobalAveragePooling2D()(_backbone()(x / 127.5 - 1.0, training=False))
    return keras.Model(image, layers.Dense(4, activation="softmax", name="scores")(layers.Dropout(0.5)(x)))


def _chain() -> keras.Model:
    head = keras.Sequential([keras.Input((10, 14, 4)), layers.Flatten(), layers.Dense(3, name="scores")])
    return keras.Sequential([keras.Input((*_SIZE, 3)), layers.Rescaling(1 / 255), _backbone(), head])


def _yes_or_no() -> keras.Model:
    backbone = _backbone(1)
    pooled = layers.GlobalAveragePooling2D()(backbone.output)
    return keras.Model(backbone.input, layers.Activation("sigmoid")(layers.Dense(1, name="scores")(pooled)))


def _convolution() -> keras.Model:
    backbone = _backbone()
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(backbone.output)
    x = layers.Reshape((5,))(layers.Conv2D(5, 1, name="scores")(pooled))
    return keras.Model(backbone.input, layers.Softmax()(x))


def _normalized() -> keras.Model:
    image = keras.Input((*_SIZE, 3))
    adapted = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])(image)
    pooled = layers.GlobalAveragePooling2D()(_backbone()(adapted))
    return keras.Model(image, layers.Dense(2, activation="softmax", name="scores")(pooled))


_MODELS: list[tuple[Callable[[], keras.Model], str, str]] = [
    (_tutorial, "0..255", "softmax"),
    (_tutorial, "caffe", "softmax"),
    (_chain, "0..255", "linear"),
    (_chain, "imagenet", "linear"),
    (_yes_or_no, "0..1 GREY", "sigmoid"),
    (_convolution, "-1..1 BGR", "softmax"),
    (_normalized, "0..1", "softmax"),
]


def _varied(model: keras.Model) -> keras.Model:
    """The model with weights of a trained one: no batch norm that does nothing."""
    rng = np.random.default_rng(1)
    model.set_weights([weight + rng.uniform(0.05, 0.4, weight.shape) for weight in model.get_weights()])
    return model


def _said(model: keras.Model, pictures: Any, pixels: Pixels, activation: str) -> Any:
    """Shares of classes by the model itself."""
    out = np.asarray(model.predict(pixels.real(pixels.arranged(pictures)), verbose=0), np.float64)
    if activation == "linear":
        out = np.exp(out - out.max(-1, keepdims=True))
        return out / out.sum(-1, keepdims=True)
    return np.concatenate([1 - out, out], axis=-1) if activation == "sigmoid" else out


@pytest.mark.parametrize(("make", "words", "activation"), _MODELS)
def test_the_copy_says_what_the_model_says(make: Callable[[], keras.Model], words: str, activation: str) -> None:
    model, pixels = _varied(make()), Pixels.parse(words)
    head = head_of(model, "m.keras")
    assert (head.name, head.activation) == ("scores", activation)
    learner = own_learner(model, head, pixels, _SIZE)
    pictures = np.random.default_rng(0).integers(0, 256, (3, *_SIZE, 3)).astype(np.uint8)
    wanted = _said(model, pictures, pixels, activation)
    found = np.asarray(learner.model.predict(SYMMETRIC.real(pictures), verbose=0))
    # Luma is rounded to a whole pixel on one side only.
    np.testing.assert_allclose(found, wanted, atol=2e-3 if pixels.order == "GREY" else 1e-4)
    assert "scores" in learner.new_layers
    assert not any(type(layer).__name__.startswith("Random") for layer in learner.model.layers)
    assert "norm" in {layer.name for layer in learner.model.layers}


@pytest.mark.parametrize(("make", "words", "activation"), _MODELS)
def test_what_the_copy_learns_goes_back(make: Callable[[], keras.Model], words: str, activation: str) -> None:
    model, pixels = _varied(make()), Pixels.parse(words)
    learner = own_learner(model, head_of(model, "m.keras"), pixels, _SIZE)
    learner.model.set_weights([weight * np.float32(1.5) for weight in learner.model.get_weights()])
    learner.give_back()
    pictures = np.random.default_rng(0).integers(0, 256, (2, *_SIZE, 3)).astype(np.uint8)
    found = np.asarray(learner.model.predict(SYMMETRIC.real(pictures), verbose=0))
    np.testing.assert_allclose(
        found, _said(model, pictures, pixels, activation), atol=4e-3 if pixels.order == "GREY" else 1e-4
    )


@pytest.mark.parametrize(("make", "words", "activation"), _MODELS)
def test_a_new_head_has_new_classes_and_the_rest_is_kept(
    make: Callable[[], keras.Model], words: str, activation: str
) -> None:
    model = _varied(make())
    made = with_new_head(model, head_of(model, "m.keras"), 7, softmax=True)
    assert made.outputs[0].shape == (None, 7)
    head = head_of(made, "m.keras")
    assert head.activation == ("softmax" if activation == "sigmoid" else activation)
    kept = [
        pair for pair in zip(model.get_weights(), made.get_weights(), strict=True) if pair[0].shape == pair[1].shape
    ]
    assert len(kept) == len(model.get_weights()) - 2
    for old, new in kept:
        np.testing.assert_array_equal(old, new)
    own_learner(made, head, Pixels.parse(words), _SIZE)
    assert model.outputs[0].shape[-1] != 7


def _embedding() -> keras.Model:
    image = keras.Input((*_SIZE, 3))
    return keras.Model(image, layers.UnitNormalization()(layers.Dense(8)(layers.Flatten()(image))))


def _hidden() -> keras.Model:
    image = keras.Input((*_SIZE, 3))
    return keras.Model(image, layers.Dense(8, activation="relu")(layers.Flatten()(image)))


@pytest.mark.parametrize(("make", "why"), [(_embedding, "unit_normalization"), (_hidden, "relu"), (_backbone, "ReLU")])
def test_what_is_no_classifier_is_refused_by_name(make: Callable[[], keras.Model], why: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"m\.keras is no classifier: .*{why}.*") as refused:
        head_of(make(), "m.keras")
    assert "keras.layers.Dense(CLASSES" in str(refused.value)


def test_a_network_that_has_seen_nothing_is_told_from_one_that_has() -> None:
    model = _tutorial()
    assert is_untrained(model)
    assert not is_untrained(_varied(model))
    assert not is_untrained(_hidden())
