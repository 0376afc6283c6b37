"""Keras models are measured and inspected as the float files that they become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.carried import class_names
from mnedge.formats.pixels import known_pixels
from mnedge.workflows.bench import bench
from mnedge.workflows.executable import executable
from mnedge.workflows.inspect import inspect
from mnedge.workflows.validate import validate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))
    path = tmp_path_factory.mktemp("model") / "own.keras"
    keras.Model(image, layers.Dense(10, activation="softmax")(x)).save(path)
    return path


def test_a_keras_model_is_a_tflite_for_a_while(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "m.onnx"
    with executable([model, other]) as (file, same):
        assert file.name == "own.keras.tflite"
        assert str(known_pixels(file)) == "0..255"
        assert class_names(file, None) == ((), "")
        assert same == other
    assert not file.exists()


def test_it_is_validated_benched_and_inspected(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "d.npz"
    rng = np.random.default_rng(0)
    np.savez(data, image=rng.integers(0, 256, (12, 8, 8, 3)).astype(np.float32), y=np.arange(12) % 10)
    (row,) = validate([model], str(data)).accuracy
    assert (row.artifact, row.images) == ("own.keras.tflite", 12)
    assert bench([model], seconds=0.05).latency[0].artifact == "own.keras.tflite"
    found = inspect(model)
    assert (found.path, found.format, found.quantized) == (str(model), "tflite", False)


def test_what_the_first_output_is_may_be_told(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "d.npz"
    np.savez(data, image=np.zeros((6, 8, 8, 3), np.float32), y=np.full((6, 10), 0.1, np.float32))
    (row,) = validate([model], str(data), head="numbers").accuracy
    assert row.metric("mae") is not None
    assert row.metric("top1") is None


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        validate([tmp_path / "no.keras"])
