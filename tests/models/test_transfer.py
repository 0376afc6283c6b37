"""A new classifier on old layers, and the .keras that knows its classes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.models import Variant
from mnedge.models.build import build_model, classes_of, load_backbone
from mnedge.models.description import description_of
from mnedge.models.transfer import save_trained, transfer_model
from mnedge.models.weights import has_hidden_head
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"classes": ["кот", "犬", "fish 🐟", "d", "e", "f"], "draw": None}


@pytest.mark.parametrize("family", rest_is_slow(["v1", "v2", "v3-small"]))
def test_all_layers_but_the_classifier_come_from_the_file(family: str, tmp_path: Path) -> None:
    old = build_model(Variant(family, 0.25, 32, classes=9), "random", seed=1)
    old.save_weights(tmp_path / "old.weights.h5")
    new, _ = transfer_model(Variant(family, 0.25, 32, classes=6), tmp_path / "old.weights.h5", seed=2)
    layers = [layer for layer in old.layers if layer.weights]
    for layer in layers[:-1]:
        for one, other in zip(layer.get_weights(), new.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    kernel, bias = new.get_layer(layers[-1].name).get_weights()
    assert kernel.shape[-1] == 6
    assert 0 < np.abs(kernel).max() < 1
    assert not bias.any()


@pytest.mark.slow
def test_the_hidden_layer_of_a_v3_head_is_drawn_where_the_file_has_none(tmp_path: Path) -> None:
    variant = Variant("v3-small", 0.25, 32, classes=6)
    load_backbone(variant, "random", seed=1).save_weights(tmp_path / "body.weights.h5")
    first, again, other = (transfer_model(variant, tmp_path / "body.weights.h5", seed)[0] for seed in (2, 2, 3))
    assert has_hidden_head(variant)
    assert not has_hidden_head(Variant("v2"))
    for one, same in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    pairs = [(layer.get_weights(), other.get_layer(layer.name).get_weights()) for layer in first.layers]
    changed = [one for one, new in pairs if any((a != b).any() for a, b in zip(one, new, strict=True))]
    assert len(changed) == 2


@pytest.mark.slow
def test_keras_loads_the_file_and_mnedge_reads_its_classes(tmp_path: Path) -> None:
    import keras

    variant, path = Variant("v2", 0.35, 32, classes=6), tmp_path / "my.keras"
    model = build_model(variant, "random")
    save_trained(model, path, NAMES)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(keras.models.load_model(path)(image), model(image))
    np.testing.assert_array_equal(build_model(variant, path)(image), model(image))
    assert description_of(path) == NAMES
    assert classes_of(variant, path) == 6


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    model = build_model(Variant("v1", 0.25, 32, classes=6), "random")
    for name in ("one", "two"):
        save_trained(model, tmp_path / name, NAMES)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


_SAVE = """
import sys, keras
from pathlib import Path
from mnedge.models import Variant
from mnedge.models.build import build_model
from mnedge.models.transfer import save_trained
# Memory that moves every address that comes after it.
moved = [bytearray(1 << 20) for _ in range(int(sys.argv[2]))]
model = build_model(Variant("v3-small", 1.0, 32, classes=6), "random")
save_trained(model, Path(sys.argv[1]), {"classes": list("abcdef")})
"""


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, moved in (("one", "0"), ("two", "37")):
        subprocess.run([sys.executable, "-c", _SAVE, str(tmp_path / name), moved], check=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(tmp_path / "one") as archive:
        assert re.findall(r'"shared_object_id": (\d+)', archive.read("config.json").decode())[:1] == ["1"]


def test_objects_that_layers_share_stay_shared(tmp_path: Path) -> None:
    import keras

    policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, dtype=policy)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, dtype=policy)(hidden))
    save_trained(model, tmp_path / "m.keras", NAMES)
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert [layer.dtype_policy.name for layer in loaded.layers[1:]] == ["mixed_bfloat16", "mixed_bfloat16"]
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(np.asarray(model(x), np.float32), np.asarray(loaded(x), np.float32))


def test_weights_without_a_description_have_none(tmp_path: Path) -> None:
    model = build_model(Variant("v1", 0.25, 32, classes=6), "random")
    model.save(tmp_path / "plain.keras")
    model.save_weights(tmp_path / "plain.weights.h5")
    assert description_of("imagenet") == {}
    assert [description_of(path) for path in tmp_path.iterdir()] == [{}, {}]


_BROKEN = (
    b"{", b"[]", b'{"classes": [1, 2]}', b"\xff", b"{}", b'{"classes": "ab"}', b'{"classes": null}', b"7",
    b"[" * 100_000,
    b'{"classes": ["a", "b"], "outputs": "2"}', b'{"classes": ["a", "b"], "draw": 0.5}',
    b'{"classes": ["a", "b"], "task": []}', b'{"classes": ["a", "b"], "output_stride": true}',
)  # fmt: skip


@pytest.mark.parametrize("content", _BROKEN, ids=range(len(_BROKEN)))
def test_a_damaged_description_is_one_message(content: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "my.keras", "w") as archive:
        archive.writestr("mnedge.json", content)
    with pytest.raises(InputError, match=r"my\.keras: its mnedge\.json with the class names is broken"):
        description_of(tmp_path / "my.keras")


def test_class_names_that_break_lines_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "my.keras", "w") as archive:
        archive.writestr("mnedge.json", json.dumps({"classes": ["a", "red\u2028fox"]}))
    with pytest.raises(InputError, match=r"my\.keras, mnedge\.json: the class name .* has the character U\+2028"):
        description_of(tmp_path / "my.keras")
