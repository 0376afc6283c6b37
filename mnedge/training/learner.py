"""A network in the form that learns: any number of pictures at once, in parts, with the wanted dtype policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection

    import keras
    import tensorflow as tf


def strategy() -> tf.distribute.Strategy:
    """Returns the strategy that spreads a batch over the GPUs; with fewer than two, one that changes nothing.

    Keras' own `keras.distribution` serves JAX only.
    """
    import tensorflow as tf

    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def make_learner(model: keras.Model, precision: str, new_layers: Collection[str]) -> keras.Model:
    """Copies a network of batch one into one that takes any number of pictures.

    The head computes in float32 whatever the policy is: a softmax of float16 overflows.

    Args:
        model: Takes float32 (1, H, W, 3).
        precision: Keras' dtype policy.
        new_layers: Names of the head's layers.
    """
    import keras

    def with_policy(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        # V3 has bare operations between its layers; they compute in what they are given.
        if isinstance(layer, keras.layers.Layer):
            config["dtype"] = "float32" if layer.name in new_layers else precision
        return layer.__class__.from_config(config)

    image = keras.Input(tuple(model.inputs[0].shape[1:]), name="image")
    given = [image] if isinstance(model.input, list) else image
    learner = keras.models.clone_model(model, input_tensors=given, clone_function=with_policy)
    learner.set_weights(model.get_weights())
    return learner


def split_at_head(learner: keras.Model, new_layers: Collection[str]) -> tuple[keras.Model, keras.Model]:
    """Splits a classifier before its head into backbone and head; all three share their weights.

    Args:
        learner: A classifier.
        new_layers: Names of the head's layers, which stand one behind the other.
    """
    import keras

    features = next(layer for layer in learner.layers if layer.name in new_layers).input
    return keras.Model(learner.input, features), keras.Model(features, learner.output)


def check_layer(model: keras.Model, name: str | None) -> None:
    """Makes sure that a layer exists, before anything is done.

    Raises:
        InputError: There is no such layer.
    """
    _place(model, name)


def freeze_backbone(learner: keras.Model, new_layers: Collection[str]) -> None:
    """Lets the head's layers learn, and none else."""
    for layer in learner.layers:
        layer.trainable = layer.name in new_layers


def unfreeze(learner: keras.Model, from_layer: str | None, *, batch_norm: bool, new_layers: Collection[str]) -> None:
    """Lets the layers from `from_layer` on learn, and none before it.

    Args:
        learner: The network, changed in place.
        from_layer: Name of a layer; None for all.
        batch_norm: Whether the backbone's batch norms learn too. In fine-tuning they keep scale, shift and statistics:
            a small batch's own statistics would undo what the backbone knows.
        new_layers: Names of the head's layers, which always learn.

    Raises:
        InputError: There is no such layer.
    """
    import keras

    start = _place(learner, from_layer)
    for place, layer in enumerate(learner.layers):
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = layer.name in new_layers or (place >= start and (batch_norm or not is_norm))


def set_norm_momentum(learner: keras.Model, momentum: float) -> None:
    """Sets the momentum of running statistics: ImageNet's 0.999 lags after the few steps of a small data set."""
    import keras

    for layer in learner.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def _place(model: keras.Model, name: str | None) -> int:
    names = [layer.name for layer in model.layers]
    if name is not None and name not in names:
        raise InputError.unknown("layer", name, names)
    return 0 if name is None else names.index(name)
