"""Noise shares: how much of the output's noise each activation's rounding brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.batch import batch_of
from mnedge.graph.executor import execute, simulate
from mnedge.graph.ops import info

if TYPE_CHECKING:
    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph, Op
    from mnedge.progress import Progress


def noise_shares(graph: Graph, images: Samples, progress: Progress) -> dict[str, float]:
    """Rounds each activation alone and measures the power of what that adds to the first output.

    The other way, leaving one activation real among rounded ones, draws all roundings behind it anew, which moves the
    noise of the output by more than most activations bring.

    Args:
        graph: int8, with the weights that ship.
        images: float32 (N, H, W, C), or a `Batch`.
        progress: Called with the share that is done, 0..1.

    Returns:
        Shares by name, which sum to 1; without the inputs, the first output and what has the steps of another.
    """
    feeds = batch_of(graph.inputs, images).arrays
    real, rounded, output = execute(graph, feeds), simulate(graph), graph.outputs[0]
    names = [
        op.outputs[0]
        for op in graph.ops
        if op.outputs[0] != output and graph.tensors[op.outputs[0]].dtype == "int8" and not info(op).shared_scale
    ]
    powers = {}
    for number, name in enumerate(names):
        rest = _behind(graph, name)
        made = {result for op in rest for result in op.outputs}
        read = {source for op in rest for source in op.inputs if source in real} - made
        fed = {source: real[source] for source in read} | {name: rounded(name, real[name])}
        noisy = execute(graph, fed, ops=rest).get(output, real[output])
        powers[name] = float(np.square(np.asarray(noisy) - np.asarray(real[output])).mean())
        progress("noise by tensor", (number + 1) / len(names))
    whole = sum(powers.values()) or 1.0
    return {name: power / whole for name, power in powers.items()}


def _behind(graph: Graph, name: str) -> list[Op]:
    """The ops whose results depend on a tensor, in order."""
    reached, found = {name}, []
    for op in graph.ops:
        if reached & set(op.inputs):
            reached |= set(op.outputs)
            found.append(op)
    return found
