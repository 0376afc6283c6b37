"""Calibration: ranges and statistics of a float graph's activations on calibration images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mnedge.batch import batch_of
from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.ops import LAYERS
from mnedge.quantization.interpret import interpret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph
    from mnedge.quantization.intervals import Interval
    from mnedge.quantization.scheme import Scheme

# For one activation and one image: smallest and largest value, and rows (pixels, channels).
_Seen: TypeAlias = "tuple[float, float, NDArray[np.float32]]"
_SAMPLES_PER_IMAGE = 2048
# How many steps from 0 the divisors of calibration must stay, so that those of other pictures do not reach it.
_LEAST_DIVISOR_STEPS = 4
# Inputs that show whether a network computes numbers at all.
_CHECKED = 4


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of one group.

    Attributes:
        low: Smallest value.
        high: Largest value.
        samples: float32 (pixels, channels) by member: pixels drawn at random from every image, about 2,048 values
            of each.
    """

    low: float
    high: float
    samples: Mapping[str, NDArray[np.float32]]

    @property
    def values(self) -> NDArray[np.float32]:
        """Samples of all members, flat."""
        return np.concatenate([part.ravel() for part in self.samples.values()])


def observe(scheme: Scheme, images: Samples, seed: int = 0) -> dict[str, Statistics]:
    """Runs the float graph and collects the statistics of every free group, within the scheme's bounds.

    Args:
        scheme: Quantization scheme of the graph.
        images: float32 (N, H, W, C), or a `Batch`.
        seed: Seed of the choice of samples.

    Raises:
        InputError: An activation takes a value that is infinite or no number.
        UnsupportedError: A divisor comes too near 0 for int8.
    """
    graph = scheme.graph
    free = set(scheme.free_groups)
    made = {name for op in graph.ops for name in op.outputs}
    names = [name for name, group in scheme.group.items() if group in free and name in made]

    def seen(number: int, outputs: list[NDArray[np.float32]]) -> list[_Seen]:
        # Places of their own for each image: what happens only at an edge must show too.
        random = np.random.default_rng((seed, number))
        found = []
        for name, value in zip(names, outputs, strict=True):
            rows = value.reshape(-1, _channels(graph.tensors[name].shape))
            count = max(1, _SAMPLES_PER_IMAGE // rows.shape[1])
            drawn = rows[random.integers(0, len(rows), count)] if count < len(rows) else rows.copy()
            found.append((float(value.min()), float(value.max()), drawn))
        return found

    images_of = list(zip(*interpret(graph.replaced(outputs=names), images, seen), strict=True)) if names else []
    seen_of = dict(zip(names, images_of, strict=True))
    bad = next((name for name in names if not np.isfinite([(low, high) for low, high, _ in seen_of[name]]).all()), None)
    if bad is not None:
        raise InputError(f"{bad} takes values that are infinite or no numbers; leave out the inputs that do it")
    result = {}
    for group in free:
        members = [name for name in names if scheme.group[name] == group]
        ends = [(low, high) for name in members for low, high, _ in seen_of[name]]
        samples = {name: np.concatenate([rows for _, _, rows in seen_of[name]]) for name in members}
        result[group] = _bounded(scheme, group, ends, samples)
    _check_divisors(scheme, {name: [(low, high) for low, high, _ in seen] for name, seen in seen_of.items()})
    return result


def check_finite(graph: Graph, images: Samples) -> None:
    """Makes sure that a float graph computes numbers, before anything is derived from them.

    Args:
        graph: Float graph.
        images: Samples, such as float32 (N, H, W, C); the first ones are run.

    Raises:
        InputError: An input, a layer's weights, or what an op makes of inputs, holds infinity or no number.
    """
    batch = batch_of(graph.inputs, images)
    if not all(np.isfinite(values).all() for values in batch.arrays.values()):
        raise InputError(
            "the calibration inputs hold values that are infinite or no numbers; leave them out, or mend what made them"
        )
    for number, op in enumerate(graph.ops):
        for name in op.inputs if op.kind in LAYERS else ():
            data = None if name is None else graph.tensors[name].data
            # A ReLU6 would hide it from what is seen below.
            if data is not None and not np.isfinite(data).all():
                raise InputError(
                    f"op {number} ({op.kind}): {name} holds values that are infinite or no numbers; the file is "
                    "damaged, or the training failed: copy, convert or train it again"
                )
    made = [
        (number, op, name)
        for number, op in enumerate(graph.ops)
        for name in op.outputs
        if graph.tensors[name].dtype.startswith("float")
    ]
    finite = interpret(
        graph.replaced(outputs=[name for _, _, name in made]),
        batch[:_CHECKED],
        lambda _, outputs: [bool(np.isfinite(output).all()) for output in outputs],
        least=_CHECKED,
    )
    bad = next((row for row, well in zip(made, np.all(finite, axis=0), strict=True) if not well), None)
    if bad is not None:
        number, op, name = bad
        raise InputError(
            f"op {number} ({op.kind}) makes values in {name} that are infinite or no numbers, from the first "
            f"{len(finite)} calibration inputs: its weights are damaged, or the inputs are far out of the range that "
            "the model takes; convert it again, or state the range with --pixels"
        )


def _check_divisors(scheme: Scheme, ends_of: Mapping[str, list[Interval]]) -> None:
    """Makes sure that no divisor comes near 0: where its step stands for 0, LiteRT ends the inference with an error.

    Raises:
        UnsupportedError: One does, or is of a scale that does not follow what is seen.
    """
    for op in scheme.graph.ops:
        if op.kind != "DIV" or scheme.is_float(op):
            continue
        name = str(op.inputs[1])
        divisor, group = scheme.graph.tensors[name], scheme.group[name]
        if divisor.data is not None:
            sizes = np.abs(divisor.real())
            least, largest = float(sizes.min()), float(sizes.max())
        else:
            members = [ends_of[other] for other, its in scheme.group.items() if its == group and other in ends_of]
            largest = max((abs(end) for seen in members for ends in seen for end in ends), default=0.0)
            ends = [end for interval in ends_of.get(name, [(0.0, 0.0)]) for end in interval]
            least = 0.0 if min(ends) <= 0 <= max(ends) else min(abs(end) for end in ends)
        if least <= _LEAST_DIVISOR_STEPS * largest / 255:
            raise UnsupportedError(
                f"the DIV that makes {op.outputs[0]} divides by {name}, which comes as near to 0 as {least:.3g} and as "
                f"far as {largest:.3g}: an int8 step of it may stand for 0, and LiteRT ends the inference there; "
                "keep it float with --allow-float DIV"
            )


def _channels(shape: tuple[int, ...]) -> int:
    return shape[-1] if len(shape) > 1 else 1


def _bounded(scheme: Scheme, group: str, ends: list[Interval], members: dict[str, NDArray[np.float32]]) -> Statistics:
    data = scheme.graph.tensors[group].data
    if not members:
        # A group of constants alone, such as the 3 of x + 3: all its values are known.
        values = np.zeros((1, 1), np.float32) if data is None else data.astype(np.float32).reshape(-1, 1)
        return Statistics(min(float(values.min()), 0.0), max(float(values.max()), 0.0), {group: values})
    low, high = scheme.bounds[group]
    return Statistics(
        float(np.clip(min(end[0] for end in ends), low, high)),
        float(np.clip(max(end[1] for end in ends), low, high)),
        {name: np.clip(values, low, high).astype(np.float32) for name, values in members.items()},
    )
