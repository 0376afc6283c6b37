"""A new head on a trained backbone, and the .keras file that carries its class names."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge.files import write_bytes
from mnedge.models.build import add_head, build_model, classes_of, load_backbone, style_of
from mnedge.models.description import DESCRIPTION
from mnedge.models.variant import CLASSIFIER
from mnedge.models.weights import has_hidden_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    from numpy.typing import NDArray

    from mnedge.models.description import Weights
    from mnedge.models.variant import Variant
    from mnedge.untyped import Json

# Keras' name for an object that several layers refer to; only equality of its values means something.
_SHARED = "shared_object_id"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def transfer_model(variant: Variant, weights: Weights, seed: int = 0) -> tuple[keras.Model, frozenset[str]]:
    """Builds a network whose head is new and whose other layers are those of `weights`.

    Of a classifier only the last layer is new.

    Args:
        variant: Variant to build, with the new number of classes.
        weights: "imagenet", "random", or a classifier's file; a hidden layer of a classifier (V3) comes along where the
            file has it.
        seed: Seed of the new layers.

    Returns:
        A model that takes float32 (1, H, W, 3) in [-1, 1]; a classifier gives float32 (1, classes), softmax. And the
        names of the head's layers: of a classifier, those behind its last pooling.

    Raises:
        InputError: The weights are missing, broken, or of another architecture.
    """
    import keras

    if variant.head != CLASSIFIER:
        backbone = load_backbone(variant, weights, seed)
        # The head's layers say themselves how they begin; Keras draws them from this seed.
        keras.utils.set_random_seed(seed)
        model = add_head(backbone, variant)
        known = {layer.name for layer in backbone.layers}
        return model, frozenset(layer.name for layer in model.layers if layer.name not in known)
    model = build_model(variant, "random", seed, style_of(weights))
    source = _source(variant, weights, seed)
    given = {} if source is None else {layer.name: layer for layer in source.layers}
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        twin = given.get(layer.name)
        shapes = [weight.shape for weight in layer.weights]
        if twin is not None and layer is not _classifier(model) and [w.shape for w in twin.weights] == shapes:
            layer.set_weights(twin.get_weights())
        elif source is not None and layer.weights:
            layer.set_weights([_drawn(weight, generator) for weight in layer.weights])
    pool = max(
        place for place, layer in enumerate(model.layers) if isinstance(layer, keras.layers.GlobalAveragePooling2D)
    )
    return model, frozenset(layer.name for layer in model.layers[pool + 1 :])


def _classifier(model: keras.Model) -> keras.Layer:
    return [layer for layer in model.layers if layer.weights][-1]


def _drawn(weight: keras.Variable, generator: np.random.Generator) -> NDArray[np.float32]:
    """Kernels as https://proceedings.mlr.press/v9/glorot10a.html, eq. 16, has them; biases are 0."""
    if len(weight.shape) == 1:
        return np.zeros(weight.shape, np.float32)
    limit = np.sqrt(6 / (np.prod(weight.shape[:-1]) + weight.shape[-1]))
    drawn: NDArray[np.float32] = generator.uniform(-limit, limit, weight.shape).astype(np.float32)
    return drawn


def _source(variant: Variant, weights: Weights, seed: int) -> keras.Model | None:
    if weights == "random":
        return None
    classes = classes_of(variant, weights)
    # The smaller file without classifier will do, unless the classifier has a hidden layer that is worth having.
    if classes is None or (weights == "imagenet" and not has_hidden_head(variant)):
        return load_backbone(variant, weights, seed)
    return build_model(replace(variant, classes=classes), weights, seed)


def save_trained(model: keras.Model, path: Path, description: Mapping[str, object]) -> None:
    """Writes a .keras that Keras loads and that names its classes; the same weights give the same bytes.

    Args:
        model: Any Keras model.
        path: The file, written whole or not at all.
        description: JSON values; "classes" is the list of class names.

    Raises:
        OSError: The file cannot be written.
    """
    tidy = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch:
        model.save(Path(scratch) / "model.keras")
        saved = (Path(scratch) / "model.keras").read_bytes()
    with zipfile.ZipFile(io.BytesIO(saved)) as source, zipfile.ZipFile(tidy, "w") as archive:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                # The date of saving would make every file a different one.
                version = json.loads(content)["keras_version"]
                content = json.dumps({"keras_version": version, "date_saved": ""}).encode()
            if name == "config.json":
                content = json.dumps(_numbered(json.loads(content), {})).encode()
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
        archive.writestr(zipfile.ZipInfo(DESCRIPTION, _EPOCH), json.dumps(description, ensure_ascii=False, indent=1))
    write_bytes(path, tidy.getvalue())


def _numbered(node: Json, numbers: dict[Json, int]) -> Json:
    """Numbers the shared objects of a Keras configuration as they come: Keras writes their addresses in memory."""
    if isinstance(node, list):
        return [_numbered(value, numbers) for value in node]
    if not isinstance(node, dict):
        return node
    return {
        key: numbers.setdefault(value, len(numbers) + 1) if key == _SHARED else _numbered(value, numbers)
        for key, value in node.items()
    }
