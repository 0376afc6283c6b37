"""SavedModel folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_keras_export(tmp_path: Path, runs: Callable[..., Any], picture: Any) -> None:
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 255)(image)))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    model.export(tmp_path / "m", verbose=False)
    network = open_source(tmp_path / "m")
    (found,) = runs(network.graph, picture)
    np.testing.assert_allclose(found, model.predict(picture, verbose=0), rtol=1e-4, atol=1e-6)
    assert str(network.pixels) == "0..255"
    assert network.outputs[0].head == "softmax"
    assert network.graph.tensors[network.graph.inputs[0]].shape == (1, 16, 16, 3)


def test_tf_save_with_names_and_a_free_size(tmp_path: Path, runs: Callable[..., Any]) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(3, 3, 3, 2)).astype(np.float32))

    signature = [tf.TensorSpec((None, None, None, 3), tf.float32, "photo")]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator] # TensorFlow has no types
    def call(photo: Any) -> dict[str, Any]:
        made = tf.nn.conv2d(photo, module.kernel, 1, "SAME")
        return {"zebra": tf.reduce_mean(made, (1, 2)), "ape": tf.sigmoid(made)}

    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"look": call})
    with pytest.raises(InputError, match=r"input photo of \S+ leaves its shape open"):
        open_source(tmp_path / "m")
    network = open_source(tmp_path / "m", (6, 8))
    assert network.graph.inputs == ("photo",)
    assert [(output.name, output.head) for output in network.outputs] == [("ape", "map"), ("zebra", "numbers")]
    value = np.random.default_rng(1).normal(size=(1, 6, 8, 3)).astype(np.float32)
    wanted = call(tf.constant(value))
    for found, output in zip(runs(network.graph, value), network.outputs, strict=True):
        np.testing.assert_allclose(found, wanted[output.name].numpy(), rtol=1e-4, atol=1e-5)


def test_signatures_are_listed_and_damage_is_told(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "m"))
    with pytest.raises(InputError, match=r"has no signature serving_default \(it has none at all\)"):
        open_source(tmp_path / "m")
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="TensorFlow cannot load"):
        open_source(tmp_path / "m")
