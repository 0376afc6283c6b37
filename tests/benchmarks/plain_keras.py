"""Plain Keras transfer learning, as the tutorials have it, on the pictures and in the CPU seconds of `mnedge train`.

    python tests/benchmarks/plain_keras.py [--resolution 96] [--cpu-seconds 300] [--data FOLDER]
                                           [--weights FILE] [--mnedge]

The script of https://www.tensorflow.org/tutorials/images/transfer_learning: pictures mirrored and turned, 10 epochs of
a new head on the frozen MobileNetV2 (Adam, 1e-4), then 10 of its layers from two thirds on (RMSprop, 1e-5). The
tutorial ends there; fine-tuning then goes on until the CPU seconds are spent, so that time is no excuse. Its best
epoch counts, chosen on the validation split as mnedge's is. `--mnedge` runs `mnedge train` on the
same pictures afterwards.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from typer import echo

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.transfer import SHARED, WEIGHTS, run

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_BATCH, _EPOCHS = 32, 10


def pictures(folder: Path, side: int, *, shuffle: bool) -> tf.data.Dataset:
    """Batches of a folder with one folder a class."""
    import keras

    read = keras.utils.image_dataset_from_directory(
        folder, image_size=(side, side), batch_size=_BATCH, shuffle=shuffle, seed=0
    )
    # Decoded once, as mnedge keeps them.
    return read.cache().prefetch(2)


def network(weights: str, side: int, classes: int) -> tuple[keras.Model, keras.Model]:
    """The tutorial's model, and the MobileNetV2 in it."""
    import keras

    base = keras.applications.MobileNetV2((side, side, 3), alpha=0.35, include_top=False, weights=weights)
    base.trainable = False
    inputs = keras.Input((side, side, 3))
    moved = keras.layers.RandomRotation(0.2)(keras.layers.RandomFlip("horizontal")(inputs))
    features = base(keras.applications.mobilenet_v2.preprocess_input(moved), training=False)
    pooled = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(features))
    return keras.Model(inputs, keras.layers.Dense(classes)(pooled)), base


def train(model: keras.Model, optimizer: keras.Optimizer, splits: tuple[tf.data.Dataset, ...], epochs: int) -> float:
    """The best top-1 of some epochs, 0..1."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    history = model.fit(splits[0], validation_data=splits[1], epochs=epochs, verbose=0).history
    return float(max(history["val_accuracy"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--cpu-seconds", type=float, default=300.0)
    parser.add_argument("--data", type=Path, default=SHARED / "small" / "tf_flowers")
    parser.add_argument("--weights", default=str(SHARED / "weights" / WEIGHTS))
    parser.add_argument("--mnedge", action="store_true", help="Run `mnedge train` too.")
    chosen = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(0)
    side = chosen.resolution
    splits = tuple(pictures(chosen.data / name, side, shuffle=name == "train") for name in ("train", "val"))
    classes = sum(entry.is_dir() for entry in (chosen.data / "train").iterdir())
    model, base = network(chosen.weights, side, classes)
    frozen = train(model, keras.optimizers.Adam(1e-4), splits, _EPOCHS)
    echo(f"plain Keras, {side} px: frozen backbone {frozen:.2%} after {time.process_time():.0f} CPU seconds")
    base.trainable = True
    for layer in base.layers[: 2 * len(base.layers) // 3]:
        layer.trainable = False
    tuned = train(model, keras.optimizers.RMSprop(1e-5), splits, _EPOCHS)
    echo(f"  fine-tuned, the tutorial's end {tuned:.2%} after {time.process_time():.0f} CPU seconds")
    before = time.process_time()
    epochs = 0
    while time.process_time() + (time.process_time() - before) / max(epochs, 1) < chosen.cpu_seconds:
        # Compiling again would forget the moments; fit alone goes on.
        history = model.fit(splits[0], validation_data=splits[1], verbose=0).history
        tuned = max(tuned, float(history["val_accuracy"][0]))
        epochs += 1
    echo(f"  {epochs} epochs more {tuned:.2%} after {time.process_time():.0f} CPU seconds")
    if chosen.mnedge:
        with tempfile.TemporaryDirectory() as scratch:
            flags = ["--variant", "v2", "--alpha", "0.35", "--resolution", str(side), "--weights", chosen.weights]
            out = ["--out", str(Path(scratch) / "my.keras")]
            report, _, cpu = run(["train", "--data", str(chosen.data), *flags, *out], Path(scratch) / "cache")
        echo(f"mnedge train, {side} px: {report['top1']:.2%} after {cpu:.0f} CPU seconds")


if __name__ == "__main__":
    main()
