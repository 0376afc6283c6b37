"""Trains a small classifier from nothing in a few minutes: what stands behind `--weights demo`.

The pictures of a first try are simple, so most of the training runs at a low resolution, a little at a higher one, and
the last steps at the model's own: the weights do not depend on it (progressive resizing,
https://arxiv.org/abs/2104.00298, section 4). The statistics of the batch norms are measured afresh at the end, since a
moving average of 0.999 would still remember its start after so few steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    Progress = Callable[[str, float], None]
    Step = Callable[[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]], object]

_BATCH = 16
_PEAK_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 0.02
_LABEL_SMOOTHING = 0.05
# Narrow networks learn more slowly, and cost less to train.
_NARROW_PARAMETERS = 2_000_000
_EPOCHS_NARROW, _EPOCHS_WIDE = 20, 12
_LOW, _MIDDLE = 64, 96
_LOW_FRACTION = 0.6
# Strokes are wider at a high resolution, and a network has to learn that again; a wide one has less time for it.
_OWN_STEPS_NARROW, _OWN_STEPS_WIDE = 300, 120
_STATISTICS_PICTURES, _STATISTICS_BATCH = 512, 64


@dataclass(frozen=True)
class _Leg:
    """A part of the training: so many steps at one resolution (pixels); a restart warms the learning rate up again."""

    side: int
    steps: int
    is_restart: bool = False


def train_demo(
    model: keras.Model,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    seed: int = 0,
    epochs: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Trains a classifier in place.

    Args:
        model: Takes float32 (1, H, W, 3) in [-1, 1], gives softmax (1, classes); its kernels are drawn afresh.
        images: Training pictures, uint8, (n, H, W, 3).
        labels: Class indices, (n,).
        seed: Seed of the kernels, the order, the augmentation and the dropout.
        epochs: Passes over the pictures; None for what suits the size of the network.
        progress: Called with the stage ("train", "batch norm") and its done fraction, 0..1.
    """
    import keras

    notify = progress or (lambda _stage, _fraction: None)
    keras.utils.set_random_seed(seed)
    # The clone takes pictures of any size and number.
    learner = keras.models.clone_model(model, input_tensors=_any_size(model))
    generator = np.random.default_rng(seed)
    _draw_kernels(learner, generator)
    legs = _plan(model, len(images), epochs)
    step = _make_step(learner, sum(leg.steps for leg in legs if not leg.is_restart))
    done = 0
    for leg in legs:
        if leg.is_restart:
            step = _make_step(learner, leg.steps)
        pixels = _resized(images, leg.side)
        order = _endless_order(len(images), generator)
        for _ in range(leg.steps):
            chosen = [next(order) for _ in range(min(_BATCH, len(images)))]
            step(pixels[chosen], labels[chosen], _random_warps(len(chosen), leg.side, generator))
            done += 1
            notify("train", done / sum(leg.steps for leg in legs))
    _measure_batch_norm(learner, images, generator, notify)
    model.set_weights(learner.get_weights())


def _any_size(model: keras.Model) -> keras.KerasTensor | list[keras.KerasTensor]:
    import keras

    image = keras.Input((None, None, 3), name="image")
    return [image] if isinstance(model.input, list) else image


def _draw_kernels(learner: keras.Model, generator: np.random.Generator) -> None:
    """Draws kernels as Keras does by default (https://proceedings.mlr.press/v9/glorot10a.html, eq. 16).

    Small depthwise kernels matter: a batch norm undoes their scale, and the smaller they are, the further a step of
    Adam turns them.
    """
    for weight in learner.trainable_weights:
        if weight.path.endswith("kernel"):
            receptive = math.prod(weight.shape[:-2])
            limit = math.sqrt(6 / (receptive * (weight.shape[-2] + weight.shape[-1])))
            weight.assign(generator.uniform(-limit, limit, weight.shape).astype(np.float32))


def _plan(model: keras.Model, pictures: int, epochs: int | None) -> list[_Leg]:
    is_narrow = model.count_params() < _NARROW_PARAMETERS
    steps = (epochs or (_EPOCHS_NARROW if is_narrow else _EPOCHS_WIDE)) * math.ceil(pictures / _BATCH)
    side = int(model.inputs[0].shape[1])
    middle = min(side, _MIDDLE)
    low = middle if is_narrow else min(side, _LOW)
    first = round(steps * _LOW_FRACTION)
    legs = [_Leg(low, first), _Leg(middle, steps - first)]
    own = _OWN_STEPS_NARROW if is_narrow else _OWN_STEPS_WIDE
    return legs if side <= _MIDDLE else [*legs, _Leg(side, own, is_restart=True)]


def _make_step(learner: keras.Model, steps: int) -> Step:
    """Makes the function that takes one step on (pixels, labels, warps)."""
    import keras
    import tensorflow as tf

    warmup = max(1, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        _PEAK_LEARNING_RATE / 20,
        max(1, steps - warmup),
        alpha=0.01,
        warmup_target=_PEAK_LEARNING_RATE,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=_WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    optimizer.build(learner.trainable_variables)

    def step(pixels: tf.Tensor, labels: tf.Tensor, warps: tf.Tensor) -> tf.Tensor:
        warped = tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels,
            transforms=warps,
            output_shape=tf.shape(pixels)[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
        with tf.GradientTape() as tape:
            predicted = learner(warped, training=True)
            loss = tf.reduce_mean(
                keras.losses.categorical_crossentropy(
                    tf.one_hot(labels, predicted.shape[-1]), predicted, label_smoothing=_LABEL_SMOOTHING
                )
            )
        optimizer.apply(tape.gradient(loss, learner.trainable_variables), learner.trainable_variables)
        return loss

    compiled: Step = tf.function(step, reduce_retracing=True)
    return compiled


def _resized(images: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Pixels in [-1, 1] at another resolution, float32, (n, side, side, 3)."""
    import tensorflow as tf

    parts = [
        tf.image.resize(images[start : start + 128], (side, side), antialias=True).numpy()
        for start in range(0, len(images), 128)
    ]
    return np.asarray(np.concatenate(parts) / np.float32(127.5) - np.float32(1), np.float32)


def _endless_order(count: int, generator: np.random.Generator) -> Iterator[int]:
    while True:
        yield from generator.permutation(count)


def _random_warps(count: int, side: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Small rotations, shears, zooms and shifts about the centre, float32, (count, 8), as TensorFlow takes them."""
    angle, shear = generator.uniform(-0.2, 0.2, count), generator.uniform(-0.15, 0.15, count)
    zoom = generator.uniform(0.85, 1.15, count)
    shift = generator.uniform(-side / 12, side / 12, (2, count))
    matrix = np.zeros((count, 8))
    matrix[:, 0], matrix[:, 1] = np.cos(angle) / zoom, (np.sin(angle) + shear) / zoom
    matrix[:, 3], matrix[:, 4] = -np.sin(angle) / zoom, np.cos(angle) / zoom
    centre = (side - 1) / 2
    for row, offset in ((0, shift[0]), (3, shift[1])):
        matrix[:, row + 2] = centre - centre * (matrix[:, row] + matrix[:, row + 1]) + offset
    return matrix.astype(np.float32)


def _measure_batch_norm(
    learner: keras.Model, images: NDArray[np.uint8], generator: np.random.Generator, notify: Progress
) -> None:
    """Sets each batch norm's mean and variance to those over the pictures, all layers at once."""
    import keras
    import tensorflow as tf

    norms = [layer for layer in learner.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    chosen = np.sort(generator.permutation(len(images))[:_STATISTICS_PICTURES])
    pixels = _resized(images[chosen], images.shape[1])
    batches = [pixels[start : start + _STATISTICS_BATCH] for start in range(0, len(pixels), _STATISTICS_BATCH)]
    for norm in norms:
        norm.momentum = 0.0
    forward = tf.function(lambda batch: learner(batch, training=True), reduce_retracing=True)
    sums = [[np.zeros(norm.moving_mean.shape), np.zeros(norm.moving_mean.shape)] for norm in norms]
    for number, batch in enumerate(batches, start=1):
        forward(batch)
        share = len(batch) / len(pixels)
        for total, norm in zip(sums, norms, strict=True):
            total[0] += share * norm.moving_mean.numpy()
            total[1] += share * norm.moving_variance.numpy()
        notify("batch norm", number / len(batches))
    for (mean, variance), norm, momentum in zip(sums, norms, momenta, strict=True):
        norm.moving_mean.assign(mean.astype(np.float32))
        norm.moving_variance.assign(variance.astype(np.float32))
        norm.momentum = momentum
