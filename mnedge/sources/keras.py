"""A whole Keras model: .keras, or .h5 of Keras 3 and Keras 2."""

from __future__ import annotations

import json
import math
import tempfile
import threading
import zipfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.choices import DEFAULT_TASK
from mnedge.errors import InputError, MnedgeError, UnsupportedError
from mnedge.foreign import is_file
from mnedge.formats.archive import read_member
from mnedge.formats.hdf5 import CONFIG_BYTES, MOST_BYTES, check_hdf5
from mnedge.models.description import DESCRIPTION, description_of
from mnedge.pixels import Pixels
from mnedge.sources._float import float_of
from mnedge.sources._heads import with_labels
from mnedge.sources._keras_config import TO_TFLITE, check_harmless, modern, training_only
from mnedge.sources._source import Float, Source, reason, sized

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras

    from mnedge.sources._keras_config import Config

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_CONFIG, _WEIGHTS, _ABOUT = "config.json", "model.weights.h5", "metadata.json"
_ABOUT_BYTES = 1 << 20
# Weights that need not be in the file, such as states of random layers.
_FREE_VALUES = 1 << 20


def load_model(path: Path) -> tuple[keras.Model, tuple[str, ...]]:
    """Loads a whole Keras model without running code of its own, and says what loading changed.

    Raises:
        InputError: It is damaged, or holds weights without the network.
        UnsupportedError: It holds Lambda or custom layers, or what Keras 3 does not have.
    """
    from mnedge.silence import paused_collection, start_tensorflow

    start_tensorflow()
    try:
        with path.open("rb") as stream:
            magic = stream.read(8)
        with paused_collection():
            return _load_archive(path) if magic.startswith(_ZIP) else _load_hdf5(path)
    except MnedgeError:
        raise
    except Exception as exc:  # h5py, zipfile and the layers of Keras raise anything on what is damaged
        raise InputError(
            f"Keras cannot load {path}: {reason(exc)}. The file may be cut short, damaged, or of a Keras with layers "
            f"that this one does not have; save it again. {TO_TFLITE}"
        ) from exc


def _accepts(path: Path) -> bool:
    if not is_file(path):
        return False
    with path.open("rb") as stream:
        magic = stream.read(8)
    return magic == _HDF5 or (magic.startswith(_ZIP) and path.suffix == ".keras")


def _read(path: Path, size: tuple[int, int] | None) -> Float:
    """Reads a whole Keras model; see `Source.read`."""
    from mnedge.formats.keras import keras_and_first_ops

    model, notes = load_model(path)
    shapes = [sized(tuple(entry.shape), entry.name, str(path), size) for entry in model.inputs]
    try:
        graph, first = keras_and_first_ops(model, shapes)
    except MnedgeError:
        raise
    except Exception as exc:  # the converter's own error, and whatever a layer raises while it is traced
        raise UnsupportedError(
            f"{path} cannot be converted with inputs of {', '.join(str(shape) for shape in shapes)}: {reason(exc)}. "
            f"{TO_TFLITE}"
        ) from exc
    return _described(float_of(graph, str(path), notes, first), path)


def _described(network: Float, path: Path) -> Float:
    """The network with the class names and the pixels that `mnedge train` wrote into a .keras."""
    told = description_of(path)
    if told.get("task", DEFAULT_TASK) != DEFAULT_TASK:
        return network
    output = network.outputs[0]
    fits = len(told.get("classes", ())) in ((1, 2) if output.head == "sigmoid" else output.shape[-1:])
    if told.get("classes") and fits:
        network = with_labels(network, told["classes"])
    pixels = told.get("pixels")
    if pixels is not None:
        network = replace(network, pixels=Pixels.from_bytes(pixels.encode()), pixels_origin="metadata")
    return network


def _load_archive(path: Path) -> tuple[keras.Model, tuple[str, ...]]:
    with zipfile.ZipFile(path) as archive:
        config = _json(read_member(archive, _CONFIG, CONFIG_BYTES, str(path)), path)
        about = read_member(archive, _ABOUT, _ABOUT_BYTES, str(path))
        weights = read_member(archive, _WEIGHTS, MOST_BYTES, str(path))
        others = [name for name in archive.namelist() if name not in (_CONFIG, _ABOUT, _WEIGHTS, DESCRIPTION)]
    if [name for name in others if not name.endswith("/")]:
        raise UnsupportedError(
            f"{path} carries files of its layers ({others[0]}), which no picture network has. {TO_TFLITE}"
        )
    check_harmless(config, str(path))
    # Loaded is what was checked, and no member beside it; without the optimizer, which only training needs.
    config = {**modern(config, str(path)), "compile_config": None}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.keras"
        with zipfile.ZipFile(file, "w") as copy:
            copy.writestr(_CONFIG, json.dumps(config))
            copy.writestr(_ABOUT, about)
            copy.writestr(_WEIGHTS, weights)
        inside = Path(scratch) / _WEIGHTS
        inside.write_bytes(weights)
        del weights
        import h5py

        with h5py.File(inside) as opened:
            values = check_hdf5(opened, str(path))
        return _loaded(file, values)


def _load_hdf5(path: Path) -> tuple[keras.Model, tuple[str, ...]]:
    import h5py

    with h5py.File(path) as file:
        values = check_hdf5(file, str(path))
        if "model_config" not in file.attrs:
            raise InputError(
                f"{path} holds weights without the network; give it with --weights FILE and --variant NAME, or save "
                "the whole model with model.save('NAME.keras')"
            )
        text = file.attrs["model_config"]
    config = _json(text, path)
    check_harmless(config, str(path))
    config = modern(config, str(path))
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "model.h5"
        copy.write_bytes(path.read_bytes())
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
            for name in ("training_config", "optimizer_weights"):
                if name in file.attrs:
                    del file.attrs[name]
        return _loaded(copy, values)


def _loaded(file: Path, values: int) -> tuple[keras.Model, tuple[str, ...]]:
    import keras

    with _weights_up_to(values):
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
    if not getattr(model, "inputs", None):
        raise InputError(
            "the model has no input of a known shape, so nothing can be built from it; give its first layer an "
            f"Input(shape), or call it once before saving. {TO_TFLITE}"
        )
    layers = Counter(type(layer).__name__ for layer in model._flatten_layers())  # noqa: SLF001 - the only walk
    note = training_only(layers)
    return model, (note,) if note else ()


@contextmanager
def _weights_up_to(stored: int) -> Iterator[None]:
    """Refuses, before it takes memory, a network of more weights than there are values for.

    What a layer makes follows from its configuration and its input, by rules of its own; so they are counted where
    every layer asks for them.

    Args:
        stored: Number of values in the file.

    Raises:
        InputError: There are more weights.
    """
    import keras

    asked, thread, refused = keras.layers.Layer.add_weight, threading.get_ident(), []
    left = stored + _FREE_VALUES

    def add_weight(self: keras.layers.Layer, shape: object = None, *arguments: object, **options: object) -> object:
        nonlocal left
        if threading.get_ident() == thread and isinstance(shape, (tuple, list)):
            left -= math.prod(extent for extent in shape if isinstance(extent, int))
            if left < 0:
                words = " x ".join(map(str, shape))
                refused.append(f"its layer {self.name} wants {words} weights, and the file holds {stored:,} in all")
                raise ValueError(refused[0])
        return asked(self, shape, *arguments, **options)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    except Exception as exc:
        # Keras writes its own words around those of a layer.
        if refused:
            raise ValueError(refused[0]) from exc
        raise
    finally:
        keras.layers.Layer.add_weight = asked
    if refused:
        raise ValueError(refused[0])


def _json(text: bytes | str, path: Path) -> Config:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"the configuration in {path} is no JSON ({exc}); save the model again") from exc
    if not isinstance(config, dict) or "class_name" not in config:
        raise InputError(f"the configuration in {path} names no model class; save the whole model again")
    return config


SOURCE = Source(what="a Keras model", suffixes=(".keras", ".h5", ".hdf5"), accepts=_accepts, read=_read)
