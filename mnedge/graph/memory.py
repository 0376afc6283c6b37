"""Memory of a graph's tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Tensor


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's values as a file holds them."""
    if tensor.is_int4:
        return (math.prod(tensor.shape) + 1) // 2
    return math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize


def live_bytes(graph: Graph) -> list[int]:
    """Bytes of the activations that exist while each op runs: made by then, and still to be read."""
    made = dict.fromkeys(graph.inputs, 0) | {name: at for at, op in enumerate(graph.ops) for name in op.outputs}
    last = {name: at for at, op in enumerate(graph.ops) for name in op.inputs if name is not None}
    last |= dict.fromkeys(graph.outputs, len(graph.ops))
    return [
        sum(tensor_bytes(graph.tensors[name]) for name, first in made.items() if first <= at <= last.get(name, first))
        for at in range(len(graph.ops))
    ]
