"""A step of training with fake quantization: its losses, its optimizer, its schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.executor import execute
from mnedge.quantization.outputs import output_heads
from mnedge.quantization.student import cut_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import tensorflow as tf
    from tensorflow.types.experimental import TensorLike

    from mnedge.quantization.scheme import Scheme
    from mnedge.quantization.student import Student


@dataclass(frozen=True)
class Losses:
    """Weights of the parts of the loss.

    Attributes:
        blocks: Squared error of every block's output against the float one, relative to its variance.
        outputs: Cross entropy with the float model's soft labels (or squared error where there are no classes).
        labels: Cross entropy with true labels, where an image has one.
    """

    blocks: float = 1.0
    outputs: float = 1.0
    labels: float = 0.0


def make_step(
    student: Student, losses: Losses, rates: Mapping[str, float]
) -> tuple[Callable[..., tuple[TensorLike, TensorLike]], list[TensorLike]]:
    """Builds one training step and the optimizer's variables (its state, for a checkpoint).

    The network is trained as a whole, each block's output against the float network's (Li et al. 2021, BRECQ,
    eq. 10, arXiv:2102.05426, with all blocks at once instead of one after the other) and the last one against the
    float network's soft labels (Hinton et al. 2015, arXiv:1503.02531). The optimizer is Adam (Kingma and Ba 2015,
    arXiv:1412.6980).

    Args:
        student: Network that is trained.
        losses: Weights of the parts of the loss.
        rates: Learning rate by kind of variable.

    Returns:
        step(images, labels, rate) -> (blocks' loss, outputs' loss): `labels` int32 with -1 for unknown, `rate` a factor
        on all learning rates.
    """
    import tensorflow as tf

    scheme = student.scheme
    cuts = cut_points(scheme)
    heads = output_heads(scheme.graph, first_tells_classes=losses.labels > 0)
    kinds = list(student.variables)
    moments = {kind: [tf.Variable(tf.zeros_like(student.variables[kind])) for _ in range(2)] for kind in kinds}
    count = tf.Variable(0.0)
    image_shape = (None, *scheme.graph.tensors[scheme.graph.inputs[0]].shape[1:])
    signature = [
        tf.TensorSpec(image_shape, tf.float32),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((), tf.float32),
    ]

    def loss_of(images: TensorLike, labels: TensorLike) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        teacher = execute(scheme.graph, {scheme.graph.inputs[0]: images})
        made = student.forward(images)
        blocks = tf.add_n([_block_loss(scheme, name, teacher[name], made[name]) for name in cuts]) / max(len(cuts), 1)
        outputs = tf.add_n([head_loss(teacher[name], made[name], classes=classes) for name, classes in heads])
        loss = losses.blocks * blocks + losses.outputs * outputs
        if losses.labels:
            loss += losses.labels * _label_loss(made[heads[0][0]], labels)
        return loss, blocks, outputs

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def step(images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss, blocks, outputs = loss_of(images, labels)
        gradients = tape.gradient(loss, [student.variables[kind] for kind in kinds])
        count.assign_add(1.0)
        for kind, gradient in zip(kinds, gradients, strict=True):
            if gradient is not None and rates.get(kind, 0.0) > 0:
                _adam(student.variables[kind], gradient, moments[kind], count, rates[kind] * rate)
        return blocks, outputs

    return step, [count, *(moment for kind in kinds for moment in moments[kind])]


def _adam(
    variable: tf.Variable, gradient: tf.Tensor, moments: Sequence[tf.Variable], count: tf.Variable, rate: tf.Tensor
) -> None:
    import tensorflow as tf

    first, second = moments
    first.assign(0.9 * first + 0.1 * gradient)
    second.assign(0.999 * second + 0.001 * tf.square(gradient))
    correction = tf.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    variable.assign_sub(rate * correction * first / (tf.sqrt(second) + 1e-8))


def _block_loss(scheme: Scheme, name: str, exact: TensorLike, made: TensorLike) -> TensorLike:
    """Squared error, each channel in units of its own variance: small channels say as much as large ones."""
    import tensorflow as tf

    low, high = scheme.bounds[scheme.group[name]]
    exact, made = (tf.clip_by_value(value, low, high) for value in (exact, made))
    axes = list(range(len(exact.shape) - 1))
    variance = tf.math.reduce_variance(exact, axes)
    floor = 0.01 * tf.reduce_mean(variance) + 1e-9
    return tf.reduce_mean(tf.reduce_mean(tf.square(made - exact), axes) / (variance + floor))


def head_loss(exact: TensorLike, made: TensorLike, *, classes: bool) -> TensorLike:
    """Divergence (Kullback-Leibler) from float's shares of classes, nats; elsewhere squared error over the variance.

    Args:
        exact: float32 (N, …) of the float network; logits where they stand for classes.
        made: The same of the quantized one.
        classes: Whether they do.
    """
    import tensorflow as tf

    if classes:
        chances = tf.nn.log_softmax(exact)
        return tf.reduce_mean(tf.reduce_sum(tf.exp(chances) * (chances - tf.nn.log_softmax(made)), -1))
    return tf.reduce_mean(tf.square(made - exact)) / (tf.math.reduce_variance(exact) + 1e-9)


def _label_loss(logits: TensorLike, labels: TensorLike) -> TensorLike:
    import tensorflow as tf

    known = tf.cast(labels >= 0, tf.float32)
    # Exported networks may have them as maps of one pixel.
    by_picture = tf.reshape(logits, (-1, logits.shape[-1]))
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), by_picture)
    return tf.reduce_sum(entropy * known) / tf.maximum(tf.reduce_sum(known), 1.0)


def cosine_rate(fraction: float, warm_up: float = 0.05) -> float:
    """Factor on the learning rate: a linear rise, then half a cosine. Loshchilov and Hutter 2017, arXiv:1608.03983."""
    if fraction < warm_up:
        return fraction / warm_up
    return float(0.5 * (1 + np.cos(np.pi * (fraction - warm_up) / (1 - warm_up))))
