"""SavedModel folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.graph import Signature
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


def _module(*, reads: str = "", writes: str = "") -> Any:
    """A module with two signatures' functions, whose first one touches files where it is asked to."""
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32))
    signature = [tf.TensorSpec((None, 16, 16, 3), tf.float32, "photo")]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator] # TensorFlow has no types
    def classify(photo: Any) -> dict[str, Any]:
        if writes:
            tf.io.write_file(writes, "owned")
        made = tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(photo / 255.0, module.kernel, 2, "SAME")), (1, 2))
        if reads:
            made += tf.cast(tf.strings.length(tf.io.read_file(reads)), tf.float32)
        return {"probabilities": tf.nn.softmax(made)}

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator] # TensorFlow has no types
    def embed(photo: Any) -> dict[str, Any]:
        return {"features": tf.reduce_mean(tf.nn.conv2d(photo / 255.0, module.kernel, 2, "SAME"), (1, 2))}

    module.classify, module.embed = classify, embed
    return module


def test_one_of_several_signatures_is_named(tmp_path: Path, runs: Callable[..., Any], picture: Any) -> None:
    import tensorflow as tf

    module = _module()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"look": module.classify, "embed": module.embed})
    with pytest.raises(InputError, match=r"has the signatures embed, look, none .* --signature NAME"):
        open_source(tmp_path / "m")
    with pytest.raises(InputError, match=r"unknown signature 'see'.*embed, look"):
        open_source(tmp_path / "m", signature="see")
    for name, function, output in (("look", module.classify, "probabilities"), ("embed", module.embed, "features")):
        network = open_source(tmp_path / "m", signature=name)
        (found,) = runs(network.graph, picture)
        np.testing.assert_allclose(found, function(picture)[output].numpy(), rtol=1e-4, atol=1e-5)
        assert network.graph.signatures == (Signature(name, (("photo", "photo"),), ((output, output),)),)
        assert str(network.pixels) == "0..255"


def test_a_saved_model_of_keras_2_is_read(tmp_path: Path, runs: Callable[..., Any], picture: Any) -> None:
    """As TensorFlow's Keras 2 wrote them: objects of its own kinds, and their configuration in a file beside."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    module = _module()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": module.classify})
    file = tmp_path / "m" / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    node = model.meta_graphs[0].object_graph_def.nodes[0].user_object
    node.identifier, node.metadata = "_tf_keras_network", '{"class_name": "Functional", "name": "model"}'
    file.write_bytes(model.SerializeToString())
    (tmp_path / "m" / "keras_metadata.pb").write_bytes(b"\x0a\x04\x08\x00\x12\x00")
    network = open_source(tmp_path / "m")
    (found,) = runs(network.graph, picture)
    np.testing.assert_allclose(found, module.classify(picture)["probabilities"].numpy(), rtol=1e-4, atol=1e-5)
    assert (network.outputs[0].name, network.outputs[0].head) == ("probabilities", "softmax")


def test_a_saved_model_of_tensorflow_1_is_read(tmp_path: Path, runs: Callable[..., Any], picture: Any) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        photo = v1.placeholder(tf.float32, (None, 16, 16, 3))
        kernel = v1.get_variable("kernel", (3, 3, 3, 4), initializer=v1.ones_initializer())
        made = tf.nn.softmax(tf.reduce_mean(tf.nn.conv2d(photo, kernel, 2, "SAME"), (1, 2)))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"photo": photo}, {"made": made})
        wanted = session.run(made, {photo: picture})
    network = open_source(tmp_path / "m")
    (found,) = runs(network.graph, picture)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("touched", ["reads", "writes"])
def test_ops_that_touch_files_are_refused_before_anything_runs(tmp_path: Path, touched: str) -> None:
    import tensorflow as tf

    secret, kind = tmp_path / "secret.txt", {"reads": "ReadFile", "writes": "WriteFile"}[touched]
    module = _module(**{touched: str(secret)})
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": module.classify})
    with pytest.raises(UnsupportedError, match=rf"holds {kind}, which read or write files.*nothing of it was run"):
        open_source(tmp_path / "m")
    assert not secret.exists()


def test_python_functions_are_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, "x")])  # type: ignore[untyped-decorator]
    def call(x: Any) -> dict[str, Any]:
        return {"y": tf.ensure_shape(tf.numpy_function(lambda value: value * 2, [x], tf.float32), (None, 4))}

    module.call = call
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": call})
    with pytest.raises(UnsupportedError, match=r"holds \w*PyFunc\w*, which"):
        open_source(tmp_path / "m")


def test_only_the_saver_may_save_and_restore(tmp_path: Path) -> None:
    import tensorflow as tf

    target = tmp_path / "written"
    module = _module()

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, "x")])  # type: ignore[untyped-decorator]
    def call(x: Any) -> dict[str, Any]:
        tf.raw_ops.SaveV2(prefix=str(target), tensor_names=["x"], shape_and_slices=[""], tensors=[x])
        return {"y": x + 1.0}

    module.call = call
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"serving_default": call})
    with pytest.raises(UnsupportedError, match="holds SaveV2, which"):
        open_source(tmp_path / "m")


def test_other_models_have_no_signatures_to_choose(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten()]).save(tmp_path / "m.keras")
    with pytest.raises(InputError, match="no signatures to choose from; leave --signature out"):
        open_source(tmp_path / "m.keras", signature="serving_default")


def test_a_folder_without_signatures_and_damage_are_told(tmp_path: Path) -> None:
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "m"))
    with pytest.raises(InputError, match=r"has no signature; export it"):
        open_source(tmp_path / "m")
    (tmp_path / "m" / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="TensorFlow cannot load"):
        open_source(tmp_path / "m")
