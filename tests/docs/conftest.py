"""A small model and its pictures, as pages of the documentation take them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = ("daisy", "rose", "tulip")
_SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def _strict(schema: Any) -> Any:
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else {}
    return {**closed, **{name: _strict(part) for name, part in schema.items()}}


@pytest.fixture(scope="session")
def hold_to_schema() -> Callable[[str, str], None]:
    """Checks JSON text against a published schema, by the schema's name; a field that it does not name is an error."""

    def hold(name: str, text: str) -> None:
        schema = json.loads((_SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(_strict(schema)).validate(json.loads(text))

    return hold


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and val/ of three kinds of coloured noise."""
    root = tmp_path_factory.mktemp("pictures") / "photos"
    for split, count in (("train", 8), ("val", 5)):
        for colour, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(1000 * count + 100 * colour + number).integers(0, 90, (6, 6, 3))
                noise[..., colour] += 150
                picture = Image.fromarray(noise.astype(np.uint8)).resize((40, 40), Image.Resampling.BICUBIC)
                picture.save(root / split / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def flowers(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with flowers.keras, a tutorial's classifier in small that knows its classes, and photos/."""
    import keras

    root = tmp_path_factory.mktemp("flowers")
    shutil.copytree(photos, root / "photos")
    seen, labels = [], []
    for colour, name in enumerate(CLASSES):
        for path in sorted((root / "photos" / "train" / name).iterdir()):
            seen.append(np.asarray(Image.open(path).resize((32, 32)), np.float32))
            labels.append(colour)
    layers = keras.layers
    keras.utils.set_random_seed(5)
    model = keras.Sequential([
        keras.Input((32, 32, 3)),
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        layers.DepthwiseConv2D(3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(len(CLASSES), activation="softmax"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy")
    model.fit(np.stack(seen), np.array(labels), batch_size=8, epochs=10, verbose=0)
    model.save(root / "flowers.keras")
    return root
