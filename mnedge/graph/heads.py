"""Heads: what the values of an output are, and how far two versions of it say the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph
    from mnedge.untyped import AnyArray

# Probabilities of classes that exclude each other (softmax), their values before it (logits), the probability of one
# class (sigmoid), a probability a label (multi-label), regression or key points (numbers), or a tensor with height and
# width (map).
Head = Literal["softmax", "logits", "sigmoid", "multi-label", "numbers", "map"]
HEADS: tuple[Head, ...] = get_args(Head)

_SAME_VALUES = ("ARG_MAX", "DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE")
_NUMBERS = ("L2_NORMALIZATION", "RELU", "RELU6", "RELU_N1_TO_1", "TANH")
# Where a probability says yes.
THRESHOLD = 0.5
# How far shares of classes, as float32, may sum up to beside 1.
_SHARES_MISS = 1e-3


def head_of(graph: Graph, output: str) -> Head:
    """Kind of the values of an output, as far as its shape and the op that makes it show.

    Several columns without an activation are logits of classes: regression looks the same, and only its user knows.
    """
    producers = graph.producers()
    op = producers.get(output)
    while op is not None and op.kind in _SAME_VALUES:
        op = producers.get(str(op.inputs[0]))
    activation = "" if op is None else str(op.options.get("activation", "NONE"))
    kinds = {"" if op is None else op.kind, activation}
    return head_of_shape(graph.tensors[output].shape, kinds)


def head_of_shape(shape: tuple[int, ...], kinds: set[str]) -> Head:
    """Returns the kind of an output from its shape and the TFLite names of its last op and activation."""
    columns = shape[-1] if shape else 1
    if math.prod(shape) != columns:
        return "map"
    if "SOFTMAX" in kinds and columns > 1:
        return "softmax"
    if "LOGISTIC" in kinds:
        return "sigmoid" if columns == 1 else "multi-label"
    return "numbers" if columns == 1 or kinds.intersection(_NUMBERS) else "logits"


def answering_output(heads: Sequence[tuple[Head, int]], classes: int) -> int:
    """The place of the output that tells classes apart: a softmax of as many, else as many logits, else the first.

    Args:
        heads: Kind and last extent of each output.
        classes: Number of classes of the data.
    """
    for kind in ("softmax", "logits"):
        if (kind, classes) in heads:
            return heads.index((kind, classes))
    return 0


def same_answers(head: Head, ours: AnyArray, theirs: AnyArray) -> NDArray[np.float64] | None:
    """The share of each picture's answers that two versions of an output have in common.

    Args:
        head: Kind of the outputs.
        ours: Real values, (pictures, …).
        theirs: Likewise.

    Returns:
        (pictures,), 0..1: of classes the same highest score, place by place; of one probability the same side of 0.5;
        of labels the share on the same side. None of numbers and maps, which give no answers: see `snr_db`.
    """
    if head in ("softmax", "logits"):
        same = ours.argmax(-1) == theirs.argmax(-1)
    elif head in ("sigmoid", "multi-label"):
        same = (ours >= THRESHOLD) == (theirs >= THRESHOLD)
    else:
        return None
    return np.asarray(same.reshape(len(ours), -1).mean(1), np.float64)


def shows_numbers(truths: AnyArray) -> bool:
    """Returns whether right answers are plain numbers: several reals a sample that are no shares of classes."""
    return truths.dtype.kind == "f" and truths.ndim > 1 and truths.shape[-1] > 1 and not are_shares(truths)


def are_shares(truths: AnyArray) -> bool:
    """Returns whether right answers are shares of classes, (…, classes), such as one-hot ones."""
    return bool(np.all(truths >= 0) and np.allclose(truths.sum(-1), 1, atol=_SHARES_MISS))


def snr_db(reference: Iterable[AnyArray], other: Iterable[AnyArray]) -> float | None:
    """Signal-to-noise ratio of an output against its reference, in dB; None without a signal or without noise."""
    signal = noise = 0.0
    # Picture by picture: the outputs of a segmentation may be larger than the memory.
    for one, two in zip(reference, other, strict=True):
        exact = np.asarray(one, np.float64)
        signal += float(np.square(exact).sum())
        noise += float(np.square(np.asarray(two, np.float64) - exact).sum())
    return decibels(signal, noise)


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise) of two powers; None where one of them is 0."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None
