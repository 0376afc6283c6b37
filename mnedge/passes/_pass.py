"""Running of passes, and questions that several passes ask of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge import registry
from mnedge.graph.graph import Graph, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mnedge.untyped import AnyArray


def run_passes(graph: Graph, names: Iterable[str]) -> Graph:
    """Applies passes in order, each found by the name of its file.

    Raises:
        InputError: No pass has that name; the message names the known ones.
    """
    for name in names:
        apply: Callable[[Graph], Graph] = registry.load("mnedge.passes", name, "apply")
        graph = apply(graph)
        graph.check()
    return graph


def read_once(graph: Graph) -> set[str]:
    """Activations that exactly one op reads, through one of its inputs, and no caller gets."""
    counts: dict[str, int] = {}
    for op in graph.ops:
        for name in op.inputs:
            if name is not None:
                counts[name] = counts.get(name, 0) + 1
    for name in graph.outputs:
        counts[name] = counts.get(name, 0) + 1
    return {name for name, count in counts.items() if count == 1}


def scalar(name: str, value: float, like: Tensor) -> Tensor:
    """A constant of shape () for an elementwise op on `like`: float32, or in `like`'s integer dtype.

    The integer form uses the largest step and a scale that makes it exactly `value`, which is positive.
    """
    if like.quantization is None:
        return constant(name, np.array(value, np.float32))
    largest = np.iinfo(like.dtype).max
    return constant(name, np.array(largest, like.dtype), Quantization.per_tensor(value / largest, 0))


def scaled(quantization: Quantization, factor: float | AnyArray) -> Quantization:
    """The quantization under which the same steps stand for `factor` times the real values."""
    scale = (quantization.scale.astype(np.float64) * factor).astype(np.float32)
    return Quantization(scale, quantization.zero_point, quantization.axis)


def same_quantization(one: Quantization | None, other: Quantization | None) -> bool:
    """Returns whether the same steps stand for the same real values, to the last bits of the scale."""
    if one is None or other is None:
        return one is other
    return (
        one.axis == other.axis
        and one.scale.shape == other.scale.shape
        and bool(np.all(one.zero_point == other.zero_point))
        and bool(np.allclose(one.scale, other.scale, rtol=1e-6, atol=0))
    )
