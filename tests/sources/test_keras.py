"""Whole Keras models as others save them."""

from __future__ import annotations

import copy
import io
import json
import random
import resource
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
import pytest

from mnedge.errors import InputError, MnedgeError, UnsupportedError
from mnedge.models.variant import Variant
from mnedge.models.weights import classes_in
from mnedge.pixels import Pixels
from mnedge.sources import open_source
from mnedge.sources._keras_config import check_harmless, modern
from mnedge.sources.keras import load_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TOLERANCE = 1e-4


def _tutorial() -> keras.Model:
    """Augmentation, preprocess_input's arithmetic, a nested network, Dropout: a transfer-learning tutorial in small."""
    layers = keras.layers
    inside = keras.Input((16, 16, 3))
    backbone = keras.Model(inside, layers.DepthwiseConv2D(3, activation="relu6")(inside), name="backbone")
    image = keras.Input((16, 16, 3))
    x = layers.RandomRotation(0.1)(layers.RandomFlip()(image))
    x = layers.GlobalAveragePooling2D()(backbone(x / 127.5 - 1.0, training=False))
    return keras.Model(image, layers.Dense(4, activation="softmax", name="scores")(layers.Dropout(0.5)(x)))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_tutorials_model_comes_in_without_what_acts_in_training(
    suffix: str, tmp_path: Path, runs: Callable[..., Any], picture: Any
) -> None:
    model, path = _tutorial(), tmp_path / f"m{suffix}"
    model.save(path)
    network = open_source(path)
    (found,) = runs(network.graph, picture)
    np.testing.assert_allclose(found, model.predict(picture, verbose=0), rtol=_TOLERANCE, atol=1e-6)
    assert str(network.pixels) == "0..255"
    assert network.pixels_origin == "graph"
    assert [output.head for output in network.outputs] == ["softmax"]
    assert network.notes == ("Layers that act in training only are gone: 1 Dropout, 1 RandomFlip, 1 RandomRotation",)
    assert network.graph.outputs == ("scores",)


def test_teachable_machines_nesting_with_keras_2s_fields(
    tmp_path: Path, runs: Callable[..., Any], picture: Any
) -> None:
    layers = keras.layers
    inside = keras.Input((16, 16, 3))
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(3)(inside))
    features = keras.Sequential([keras.Model(inside, x), layers.GlobalAveragePooling2D()])
    head = keras.Sequential(
        [keras.Input((3,)), layers.Dense(5, activation="relu"), layers.Dense(2, use_bias=False, activation="softmax")]
    )
    model = keras.Sequential([keras.Input((16, 16, 3)), features, head])
    path = tmp_path / "keras_model.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edited = 0
        for node in _nodes(config):
            if node.get("class_name") == "DepthwiseConv2D":
                node["config"] |= {"groups": 1, "kernel_initializer": None}
                edited += 1
            if node.get("class_name") == "BatchNormalization":
                node["config"] |= {"axis": [3], "virtual_batch_size": None, "fused": True}
                edited += 1
            if node.get("class_name") == "Dense":
                node["config"]["batch_input_shape"] = [None, 3]
                edited += 1
        assert edited == 4
        file.attrs["model_config"] = json.dumps(config)
    network = open_source(path)
    (found,) = runs(network.graph, picture)
    np.testing.assert_allclose(found, model.predict(picture, verbose=0), rtol=_TOLERANCE, atol=1e-6)
    assert network.pixels is None
    assert network.pixels_origin == "unknown"


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_that_keras_2_wrote(suffix: str, tmp_path: Path, runs: Callable[..., Any], picture: Any) -> None:
    old = pytest.importorskip("tf_keras", reason="no tf_keras, which is Keras 2: pip install tf_keras")
    inside = old.Input((16, 16, 3))
    x = old.layers.BatchNormalization()(old.layers.DepthwiseConv2D(3)(inside))
    backbone = old.Model(inside, x)
    backbone.trainable = False
    image = old.Input((16, 16, 3))
    x = backbone(old.applications.mobilenet_v2.preprocess_input(old.layers.RandomFlip()(image)), training=False)
    model = old.Model(image, old.layers.Dense(1, activation="sigmoid")(old.layers.GlobalAveragePooling2D()(x)))
    path = tmp_path / f"m{suffix}"
    model.save(path)
    network = open_source(path)
    (found,) = runs(network.graph, picture)
    np.testing.assert_allclose(found, model.predict(picture, verbose=0), rtol=_TOLERANCE, atol=1e-6)
    assert str(network.pixels) == "0..255"
    assert network.outputs[0].head == "sigmoid"


def test_free_height_and_width_need_a_size(tmp_path: Path, runs: Callable[..., Any]) -> None:
    image = keras.Input((None, None, 3))
    x = keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Dense(2)(x))
    path = tmp_path / "m.keras"
    model.save(path)
    with pytest.raises(InputError, match=r"leaves its shape open \(1 x \? x \? x 3\); give --size HEIGHTxWIDTH"):
        open_source(path)
    for size in ((20_000, 20_000), (65_535, 65_535)):
        with pytest.raises(InputError, match=r"[\d,]+ values, and at most 67,108,864 are taken"):
            open_source(path, size)
    network = open_source(path, (12, 20))
    assert network.graph.tensors["image"].shape == (1, 12, 20, 3)
    value = np.random.default_rng(1).normal(size=(1, 12, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(
        runs(network.graph, value)[0], model.predict(value, verbose=0), rtol=_TOLERANCE, atol=1e-5
    )
    assert network.outputs[0].head == "numbers"


def test_several_inputs_and_outputs_keep_their_order(tmp_path: Path, runs: Callable[..., Any], picture: Any) -> None:
    layers = keras.layers
    zebra, ape = keras.Input((16, 16, 3), name="zebra"), keras.Input((4,), name="ape")
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(zebra)), ape])
    ends = [layers.Dense(3, activation="softmax", name="z")(x), layers.Dense(1, activation="sigmoid", name="a")(x)]
    model = keras.Model([zebra, ape], ends)
    path = tmp_path / "m.keras"
    model.save(path)
    network = open_source(path)
    assert network.graph.inputs == ("zebra", "ape")
    assert [(output.name, output.head) for output in network.outputs] == [("z", "softmax"), ("a", "sigmoid")]
    numbers = np.ones((1, 4), np.float32)
    for found, wanted in zip(
        runs(network.graph, picture, numbers), model.predict([picture, numbers], verbose=0), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=_TOLERANCE, atol=1e-5)


def test_lambda_layers_never_run_and_the_way_out_is_said(tmp_path: Path) -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x * 2.0, name="twice")(image))
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"m{suffix}")
        with pytest.raises(UnsupportedError, match=r"a Lambda layer \(twice\)[\s\S]*TFLiteConverter.from_keras_model"):
            open_source(tmp_path / f"m{suffix}")


def test_custom_layers_are_refused_by_name(tmp_path: Path) -> None:
    class Odd(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, Odd(name="odd_one")(image))
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"m{suffix}")
        with pytest.raises(UnsupportedError, match=r"custom layer \S*Odd \(odd_one\)"):
            load_model(tmp_path / f"m{suffix}")


def test_weights_alone_are_told_apart(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(InputError, match="holds weights without the network; give it with --weights FILE"):
        open_source(tmp_path / "m.weights.h5")


def test_an_archive_is_read_within_limits(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def written(**changes: bytes) -> Path:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**members, **changes}.items():
                archive.writestr(name, data)
        path.write_bytes(buffer.getvalue())
        return path

    with pytest.raises(InputError, match=r"config.json in \S+ is larger than 67,108,864 bytes"):
        open_source(written(**{"config.json": b" " * ((64 << 20) + 1)}))
    with pytest.raises(InputError, match=r"metadata.json in \S+ is larger than 1,048,576 bytes"):
        open_source(written(**{"metadata.json": b" " * ((1 << 20) + 1)}))
    with pytest.raises(InputError, match=r"model.weights.h5 in \S+ unpacks to more than 100 times the [\d,]+ bytes"):
        open_source(written(**{"model.weights.h5": bytes((64 << 20) + 1)}))
    with pytest.raises(UnsupportedError, match=r"carries files of its layers \(assets/vocabulary.txt\)"):
        open_source(written(**{"assets/vocabulary.txt": b"a"}))
    with pytest.raises(InputError, match="is no JSON"):
        open_source(written(**{"config.json": b"[" * 100_000}))
    with pytest.raises(InputError, match="nests deeper than 100 levels"):
        open_source(
            written(**{"config.json": b'{"class_name": "Sequential", "config":' + b"[" * 200 + b"]" * 200 + b"}"})
        )
    whole = written().read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"Keras cannot load|is cut short"):
        open_source(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("layer", "field", "value"),
    [
        ("scores", "units", 10**9), ("conv", "filters", 10**7), ("depthwise", "depth_multiplier", 10**8),
        ("conv", "kernel_size", [9999, 9999]), ("image", "shape", [None, 16, 16, 10**9]),
    ],
)  # fmt: skip
def test_layers_with_more_weights_than_the_file_holds_take_no_memory(
    tmp_path: Path, suffix: str, layer: str, field: str, value: object
) -> None:
    layers, path = keras.layers, tmp_path / f"m{suffix}"
    image = keras.Input((16, 16, 3), name="image")
    x = layers.DepthwiseConv2D(3, name="depthwise")(layers.Conv2D(4, 3, padding="same", name="conv")(image))
    x = layers.Dense(2, name="scores")(layers.GlobalAveragePooling2D()(x))
    keras.Model(image, x).save(path)

    def changed(text: str | bytes) -> str:
        config = json.loads(text)
        for node in _nodes(config):
            if node.get("config", {}).get("name") == layer:
                node["config"]["batch_shape" if field == "shape" else field] = value
            if layer == "image":
                # What Keras 3 would build layers for before it calls them.
                node.pop("build_config", None)
        return json.dumps(config)

    if suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = changed(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        path.write_bytes(_zipped({**members, "config.json": changed(members["config.json"]).encode()}))
    named = "conv" if layer == "image" else layer
    with pytest.raises(InputError, match=rf"its layer {named} wants [0-9 x]+ weights, and the file holds \d+ in all"):
        open_source(path)
    # What a layer asks for is Keras' own again.
    assert keras.layers.Layer.add_weight.__module__.startswith("keras")


def test_hdf5_that_reads_other_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    with h5py.File(path, "r+") as file:
        file["outside"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(InputError, match=r"refers to data outside itself \(//outside\)"):
        open_source(path)


def test_arithmetic_of_keras_2_becomes_rescaling_or_is_refused() -> None:
    def layer(function: str, **arguments: float) -> dict[str, Any]:
        return {
            "class_name": "TFOpLambda",
            "config": {"name": "op", "function": function},
            "name": "op",
            "inbound_nodes": [["image", 0, 0, {**arguments, "name": None}]],
        }

    for function, number, scale, offset in (
        ("math.truediv", 127.5, 1 / 127.5, 0.0),
        ("math.multiply", 2.0, 2.0, 0.0),
        ("math.subtract", 1.0, 1.0, -1.0),
        ("__operators__.add", 3.0, 1.0, 3.0),
    ):
        found = modern(layer(function, y=number), "m.h5")
        assert found["class_name"] == "Rescaling"
        assert (found["config"]["scale"], found["config"]["offset"]) == (scale, offset)
        assert found["inbound_nodes"] == [[["image", 0, 0, {}]]]
    with pytest.raises(UnsupportedError, match=r"m.h5 holds the operation math.reduce_mean \(op\)"):
        modern(layer("math.reduce_mean", axis=1), "m.h5")
    field = {"class_name": "DepthwiseConv2D", "config": {"name": "conv", "groups": 2}}
    with pytest.raises(UnsupportedError, match=r"layer conv \(DepthwiseConv2D\) has groups = 2"):
        modern(field, "m.h5")
    check_harmless(field, "m.h5")


def _nodes(config: Any) -> list[dict[str, Any]]:
    if isinstance(config, list):
        return [node for item in config for node in _nodes(item)]
    if not isinstance(config, dict):
        return []
    return [config, *(node for item in config.values() for node in _nodes(item))]


def test_a_whole_offset_before_a_convolution_without_padding_is_seen(tmp_path: Path) -> None:
    # The converter folds the Rescaling away, and Keras casts its whole number.
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 127.5, -1)(image))
    path = tmp_path / "m.keras"
    keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))).save(path)
    network = open_source(path)
    assert (str(network.pixels), network.pixels_origin) == ("0..255", "graph")


def test_a_rescaling_of_each_channel_is_seen(tmp_path: Path) -> None:
    image = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling([0.017, 0.018, 0.019], [-2.1, -2.0, -1.8])(image)
    path = tmp_path / "m.keras"
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x))).save(path)
    network = open_source(path)
    assert network.pixels == Pixels.parse("0..255")


_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**400, 10**10, 70_000, 3.5, "", "x" * 300, "a\0b", "\ud800", [], {}, [[]], [None, -1],
    {"class_name": "Dense"}, "relu6", "float64", "int8", [None, 8, 8, 100_000],
)  # fmt: skip
# More than what the tests of this process took before.
_MOST_KIB = 1 << 20


def _odd(content: Any, chance: random.Random) -> Any:
    """A configuration with a value or two lost, or of another kind."""
    content = copy.deepcopy(content)
    for _ in range(chance.randint(1, 2)):
        places: list[tuple[Any, Any]] = []
        waiting = [content]
        while waiting:
            node = waiting.pop()
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                waiting += [node[key]] if isinstance(node[key], (dict, list)) else []
        node, key = chance.choice(places)
        if chance.random() < 0.2:
            del node[key]
        else:
            node[key] = copy.deepcopy(chance.choice(_ODD))
    return content


def _flipped(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        data[chance.randrange(len(data))] = chance.choice((0, 1, 255, 128, chance.randrange(256)))
    return bytes(data[: chance.randrange(len(data))] if chance.random() < 0.1 else data)


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _prepared(prepare: Callable[[Any], Any], padding: str = "same") -> keras.Model:
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, padding=padding)(prepare(image))
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("name", ["caffe", "torch", "normalization"])
def test_preparation_channel_by_channel_is_seen(
    name: str, padding: str, tmp_path: Path, runs: Callable[..., Any]
) -> None:
    def prepare(image: Any) -> Any:
        if name == "normalization":
            layer = keras.layers.Normalization()
            layer.adapt(np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3)).astype(np.float32))
            return layer(image)
        return keras.applications.imagenet_utils.preprocess_input(image, data_format="channels_last", mode=name)

    model, path = _prepared(prepare, padding), tmp_path / "m.keras"
    model.save(path)
    network = open_source(path)
    assert str(network.pixels) == "0..255"
    picture = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3)).astype(np.float32)
    expected = model.predict(picture, verbose=0)
    np.testing.assert_allclose(runs(network.graph, picture)[0], expected, rtol=1e-3, atol=1e-2)
    # Caffe's order of channels has gone into the weights.
    assert {op.kind for op in network.graph.ops} <= {"SUB", "MUL", "ADD", "CONV_2D", "MEAN", "FULLY_CONNECTED"}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_mixed_precision_is_of_training(suffix: str, tmp_path: Path, runs: Callable[..., Any], picture: Any) -> None:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model, path = _tutorial(), tmp_path / f"m{suffix}"
        model.save(path)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    network = open_source(path)
    assert network.graph.tensors["scores"].dtype == "float32"
    expected = model.predict(picture, verbose=0).astype(np.float32)
    np.testing.assert_allclose(runs(network.graph, picture)[0], expected, atol=5e-3)


def test_damaged_models(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((8, 8, 3)), layers.Rescaling(1 / 127.5, offset=-1.0), layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(), layers.DepthwiseConv2D(3), layers.GlobalAveragePooling2D(), layers.Dense(3),
    ])  # fmt: skip
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    whole = (tmp_path / "m.h5").read_bytes()
    with h5py.File(tmp_path / "m.h5") as file:
        older = json.loads(file.attrs["model_config"])
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config, weights = json.loads(members["config.json"]), members["model.weights.h5"]

    def mutant(chance: random.Random) -> tuple[str, bytes]:
        kind = chance.randrange(5)
        if kind == 0:
            return ".keras", _zipped({**members, "config.json": json.dumps(_odd(config, chance)).encode()})
        if kind == 1:
            return ".keras", _flipped(_zipped(members), chance)
        if kind == 2:
            return ".keras", _zipped({**members, "model.weights.h5": _flipped(weights, chance)})
        if kind == 3:
            return ".h5", _flipped(whole, chance)
        path = tmp_path / "config.h5"
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(_odd(older, chance))
        return ".h5", path.read_bytes()

    taken, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(request.config.getoption("--fuzz") // 10):
        suffix, data = mutant(random.Random(seed))  # noqa: S311 - damage, not secrets
        path = tmp_path / f"x{suffix}"
        path.write_bytes(data)
        for read in (load_model, lambda place: classes_in(Variant("v1", 0.25), place)):
            try:
                read(path)
                taken += 1
            except MnedgeError:
                continue
            except Exception as exc:
                raise AssertionError(f"seed {seed}: {exc!r}") from exc
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _MOST_KIB, f"seed {seed} took the memory"
    assert taken > 0
