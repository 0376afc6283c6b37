"""A small model and its pictures, as pages of the documentation take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("daisy", "rose", "tulip")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with flowers.keras, a tutorial's classifier in small that knows its classes, and photos/."""
    root = tmp_path_factory.mktemp("flowers")
    seen, labels = [], []
    for split, count in (("train", 8), ("val", 5)):
        for colour, name in enumerate(CLASSES):
            (root / "photos" / split / name).mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(1000 * count + 100 * colour + number).integers(0, 90, (6, 6, 3))
                noise[..., colour] += 150
                picture = Image.fromarray(noise.astype(np.uint8)).resize((40, 40), Image.Resampling.BICUBIC)
                picture.save(root / "photos" / split / name / f"{number}.png")
                if split == "train":
                    seen.append(np.asarray(picture.resize((32, 32)), np.float32))
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
