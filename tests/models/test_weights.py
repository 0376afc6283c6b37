"""Weights files, good and bad; other people's files are read from the shared data."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.models.build import build_model, classes_of, load_backbone, packaged_demo
from mnedge.models.variant import Variant
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras

VARIANT = Variant("v3-small", 0.35, 64, classes=5)
REAL = {
    "mobilenet_2_5_224_tf.h5": Variant("v1", 0.25),
    "mobilenet_7_5_224_tf.h5": Variant("v1", 0.75),
    "mobilenet_v2_1.0_224_dequantized_int8pc.h5": Variant("v2", 1.0),
    "mobilenet_v3_small_224_1.0_dequantized_int8pc.h5": Variant("v3-small", 1.0),
}
NO_TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model(VARIANT, "random", seed=3)


@pytest.fixture(scope="module")
def files(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import keras

    folder = tmp_path_factory.mktemp("weights")
    model.save_weights(folder / "a.weights.h5")
    model.save(folder / "a.keras")
    keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5(model, str(folder / "a.h5"))
    with h5py.File(folder / "b.h5", "w") as file:
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return {path.name: path for path in folder.iterdir()}


def _same(first: keras.Model, second: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


@pytest.mark.parametrize("name", rest_is_slow(["a.keras", "a.weights.h5", "a.h5", "b.h5"], 2))
def test_every_format_brings_the_same_weights_back(model: keras.Model, files: dict[str, Path], name: str) -> None:
    assert classes_of(VARIANT, files[name]) == 5
    assert _same(build_model(VARIANT, files[name]), model)


def test_the_content_tells_the_format_not_the_name(model: keras.Model, files: dict[str, Path], tmp_path: Path) -> None:
    renamed = tmp_path / "weights.bin"
    shutil.copy(files["a.keras"], renamed)
    assert _same(build_model(VARIANT, renamed), model)


def test_another_resolution_takes_the_same_weights(model: keras.Model, files: dict[str, Path]) -> None:
    larger = Variant("v3-small", 0.35, 96, classes=5)
    assert _same(build_model(larger, files["a.weights.h5"]), model)


def test_a_model_saved_with_its_own_rescaling_fits(tmp_path: Path) -> None:
    import keras

    source = keras.applications.MobileNetV3Small((64, 64, 3), alpha=0.35, weights=None, classes=5)
    source.save(tmp_path / "rescaling.keras")
    assert _same(build_model(VARIANT, tmp_path / "rescaling.keras"), source)


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        (Variant("v2", 0.35, 64, 5), "does not hold v2 with alpha 0.35"),
        (Variant("v3-small", 0.5, 64, 5), "does not hold v3-small with alpha 0.5"),
        (Variant("v3-small", 0.35, 64, 6), "tells 5 classes apart, asked for are 6"),
    ],
)
def test_another_architecture_or_class_count_is_refused(files: dict[str, Path], variant: Variant, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        build_model(variant, files["a.weights.h5"])


def test_the_message_says_what_the_file_holds_instead(tmp_path: Path) -> None:
    build_model(Variant("v1", 0.25, 32, 7), "random").save_weights(tmp_path / "v1.weights.h5")
    with pytest.raises(InputError, match=r"it holds v1 with alpha 0\.25, with 7 classes"):
        build_model(Variant("v2", 1.0, 32, 7), tmp_path / "v1.weights.h5")


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(tmp_path / "dense.weights.h5")
    with pytest.raises(InputError, match="no published MobileNet"):
        build_model(VARIANT, tmp_path / "dense.weights.h5")


@pytest.mark.parametrize("name", rest_is_slow(["a.keras", "a.weights.h5", "a.h5", "b.h5"], 2))
@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(files: dict[str, Path], tmp_path: Path, name: str, share: float) -> None:
    cut = tmp_path / name
    whole = files[name].read_bytes()
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=re.escape(str(cut))):
        build_model(VARIANT, cut)


@pytest.mark.parametrize("name", ["a.weights.h5", "b.h5"])
@pytest.mark.parametrize("signature", [b"HEAP", b"TREE", b"SNOD"])
def test_a_file_with_damaged_structure_is_refused(
    files: dict[str, Path], tmp_path: Path, name: str, signature: bytes
) -> None:
    damaged = tmp_path / name
    content = files[name].read_bytes()
    assert signature in content
    damaged.write_bytes(content.replace(signature, b"\0\0\0\0"))
    with pytest.raises(InputError, match=re.escape(str(damaged))):
        build_model(VARIANT, damaged)


@pytest.mark.parametrize("content", [b"", b"\x1c\x00\x00\x00TFL3 and so on", b"<html>", b"PK\x03\x04 no archive"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        build_model(VARIANT, path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.h5", tmp_path):
        with pytest.raises(InputError, match="does not exist or is not a file"):
            build_model(VARIANT, path)


def test_values_that_are_not_numbers_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "nan.h5"
    shutil.copy(files["b.h5"], broken)
    with h5py.File(broken, "r+") as file:
        file["conv/conv/kernel"][0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        build_model(VARIANT, broken)


def _with_config(path: Path, source: Path, change: Callable[[list], None]) -> Path:
    """A copy of a .keras archive with another configuration."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config["config"]["layers"])
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return path


def test_a_lambda_is_refused_and_never_run(tmp_path: Path) -> None:
    import keras

    witness = tmp_path / "witness"
    inputs = keras.Input((64, 64, 3))
    source = keras.applications.MobileNetV3Small(
        alpha=0.35, weights=None, classes=5, include_preprocessing=False, input_tensor=inputs
    )
    place = str(witness)
    outputs = keras.layers.Lambda(lambda x: __import__("pathlib").Path(place).write_text("run") and x)(
        source.outputs[0]
    )
    model = keras.Model(source.inputs[0], outputs)
    witness.unlink(missing_ok=True)
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(InputError, match="wants to run code"):
        build_model(VARIANT, tmp_path / "lambda.keras")
    assert not witness.exists()


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "my_package.layers", "class_name": "Swish", "registered_name": "My>Swish", "config": {}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/somewhere"}},
        {"module": "keras.layers", "class_name": "Activation", "config": {"x": {"class_name": "__lambda__"}}},
        {"module": "keras.src.utils", "class_name": "get_file", "config": {"origin": "http://host/x"}},
        {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}},
    ],
)
def test_a_configuration_with_code_in_it_is_refused(files: dict[str, Path], tmp_path: Path, layer: dict) -> None:
    path = _with_config(tmp_path / "bad.keras", files["a.keras"], lambda layers: layers.append(layer))
    with pytest.raises(InputError, match="wants to run code"):
        build_model(VARIANT, path)


def test_members_and_arrays_are_read_within_limits(files: dict[str, Path], tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.keras"
    with zipfile.ZipFile(files["a.keras"]) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, b" " * ((64 << 20) + 1) if name == "config.json" else old.read(name))
    with pytest.raises(InputError, match=r"config\.json in \S+ is larger than 67,108,864 bytes"):
        build_model(VARIANT, bomb)
    deep = tmp_path / "deep.keras"
    with zipfile.ZipFile(deep, "w") as new:
        new.writestr("config.json", b"[" * 100_000)
    with pytest.raises(InputError, match="cut short or broken"):
        build_model(VARIANT, deep)
    (tmp_path / "secret").write_bytes(bytes(4096))
    outside = tmp_path / "outside.weights.h5"
    shutil.copy(files["b.h5"], outside)
    with h5py.File(outside, "r+") as file:
        del file["conv/conv/kernel"]
        file.create_dataset("conv/conv/kernel", (3, 3, 3, 16), "f4", external=[(str(tmp_path / "secret"), 0, 1728)])
    with pytest.raises(InputError, match="refers to data outside itself"):
        build_model(VARIANT, outside)


def test_random_weights_follow_the_seed(model: keras.Model) -> None:
    assert _same(build_model(VARIANT, "random", seed=3), model)
    assert not _same(build_model(VARIANT, "random", seed=4), model)


def test_layers_are_called_the_same_whatever_was_built_before() -> None:
    first, second = (build_model(VARIANT, "random") for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


def test_random_networks_keep_their_activations_alive() -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    for family in ("v1", "v2", "v3-large"):
        scores = build_model(Variant(family, 0.5, 64), "random")(image).numpy()[0]
        assert scores.sum() == pytest.approx(1, abs=1e-4)
        assert len(np.unique(scores)) > 900


@pytest.mark.parametrize("name", REAL)
@pytest.mark.shared
def test_real_files_load_with_the_same_values(shared_data: Path, name: str) -> None:
    path = shared_data / "weights" / name
    loaded = {layer.name: layer.get_weights() for layer in build_model(REAL[name], path).layers}
    assert classes_of(REAL[name], path) == 1000
    compared = 0
    with h5py.File(path) as file:
        for layer in file.attrs["layer_names"]:
            for place, weight in enumerate(file[layer].attrs["weight_names"]):
                assert np.array_equal(loaded[_text(layer)][place], file[layer][weight][()])
                compared += 1
    assert compared == sum(len(weights) for weights in loaded.values())


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


@pytest.mark.shared
def test_a_file_without_classifier_is_a_backbone_only(shared_data: Path) -> None:
    variant, path = Variant("v2", 0.35), shared_data / "weights" / NO_TOP
    assert classes_of(variant, path) is None
    with pytest.raises(InputError, match="without its classifier"):
        build_model(variant, path)
    backbone = load_backbone(variant, path)
    assert backbone.output.shape == (1, 7, 7, 1280)
    with h5py.File(path) as file:
        assert np.array_equal(backbone.get_layer("Conv_1").get_weights()[0], file["Conv_1/Conv_1/kernel"][()])


@pytest.mark.parametrize("family", rest_is_slow(["v3-small", "v1", "v2"]))
def test_a_backbone_is_the_classifier_up_to_its_pooling(family: str, tmp_path: Path) -> None:
    variant = Variant(family, 0.35, 64, 5)
    classifier = build_model(variant, "random")
    classifier.save_weights(tmp_path / "a.weights.h5")
    backbone = load_backbone(variant, tmp_path / "a.weights.h5")
    assert backbone.output.shape[:3] == (1, 2, 2)
    for layer in (layer for layer in backbone.layers if layer.weights):
        for mine, theirs in zip(layer.get_weights(), classifier.get_layer(layer.name).get_weights(), strict=True):
            assert np.array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        (Variant("v1", 0.3), "only for 0.25, 0.5, 0.75, 1.0"),
        (Variant("v3-small-minimalistic", 0.75), "only for 1.0"),
        (Variant("v2", 1.0, 224, 10), "1000 classes"),
    ],
)
def test_imagenet_weights_that_nobody_published(variant: Variant, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        build_model(variant, "imagenet")


_IMAGENET = """
import sys, socket
from pathlib import Path
def offline(*args, **kwargs):
    raise OSError("the network is switched off for this test")
socket.socket.connect = offline
socket.getaddrinfo = offline
from mnedge.errors import InputError
from mnedge.models.variant import Variant
from mnedge.models.build import build_model
try:
    model = build_model(Variant(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])), "imagenet")
    print("loaded", float(abs(model.get_weights()[0]).sum()))
except InputError as error:
    print("refused", error)
"""


def _imagenet(home: Path, *args: str) -> str:
    environment = {**os.environ, "KERAS_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", _IMAGENET, *args], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


@pytest.mark.slow
def test_imagenet_weights_offline_say_which_file_goes_where(tmp_path: Path) -> None:
    said = _imagenet(tmp_path, "v3-small", "1.0", "224")
    assert said.startswith("refused")
    assert "weights_mobilenet_v3_small_224_1.0_float.h5" in said
    assert str(tmp_path / "models") in said
    assert "--weights FILE" in said


@pytest.mark.slow
def test_imagenet_weights_with_a_wrong_checksum_are_not_used(tmp_path: Path, files: dict[str, Path]) -> None:
    (tmp_path / "models").mkdir()
    shutil.copy(files["b.h5"], tmp_path / "models" / "weights_mobilenet_v3_small_224_1.0_float.h5")
    assert _imagenet(tmp_path, "v3-small", "1.0", "224").startswith("refused")


@pytest.mark.slow
@pytest.mark.shared
def test_imagenet_weights_come_from_the_cache_of_keras(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "weights" / "mobilenet_2_5_224_tf.h5"
    (tmp_path / "models").mkdir()
    shutil.copy(source, tmp_path / "models")
    with h5py.File(source) as file:
        expected = float(np.abs(file["conv1/conv1/kernel"][()]).sum())
    said = _imagenet(tmp_path, "v1", "0.25", "224")
    assert said.startswith("loaded")
    assert float(said.split()[1]) == pytest.approx(expected, rel=1e-6)


def test_the_packaged_checkpoint_is_small_and_only_for_its_variant() -> None:
    path = packaged_demo(Variant("v3-small", 1.0, 96, 10))
    assert path is not None
    assert path.stat().st_size <= 4 * 1024 * 1024
    assert packaged_demo(Variant("v3-small", 1.0, 224, 10)) is None
    assert packaged_demo(Variant("v3-small", 0.75, 96, 10)) is None
    assert packaged_demo(Variant("v3-small", 1.0, 96, 11)) is None


def test_a_variant_without_packaged_checkpoint_says_so() -> None:
    with pytest.raises(InputError, match="no packaged demo checkpoint"):
        build_model(Variant("v1", 0.25, 96, 10), "demo")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("nested", [True, False])
def test_a_whole_model_is_told_how_to_be_given_in_one_line(tmp_path: Path, suffix: str, nested: bool) -> None:
    import keras

    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
    inside = backbone if nested else keras.layers.Flatten()
    model = keras.Sequential([keras.Input((8, 8, 3)), inside, keras.layers.Dense(5)])
    path = tmp_path / f"my model{suffix}"
    model.save(path)
    with pytest.raises(InputError) as caught:
        classes_of(VARIANT, path)
    assert str(caught.value) == (
        f"{path} is a whole Keras model, not the weights of a MobileNet; give it as the model: "
        f"`mnedge build '{path}' --data DIR --int8`"
    )


def test_whole_models_of_tutorials_are_told_the_same(shared_data: Path) -> None:
    files = sorted((shared_data.parent / "cases" / "own").glob("*.keras"))
    if not files:
        pytest.skip("no models of tutorials in the shared cases")
    for path in files:
        with pytest.raises(InputError, match=r"is a whole Keras model.*mnedge build \S+ --data DIR --int8`$"):
            classes_of(Variant("v2", 0.35, 96, classes=5), path)
