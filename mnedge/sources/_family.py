"""The published architecture that a graph's kernels are of, whatever its layers are called."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mnedge.models import families
from mnedge.models.variant import Variant, trace

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph

    Kernels = Counter[tuple[int, ...]]


def family_of_graph(graph: Graph) -> tuple[str, float] | None:
    """The family and width whose backbone a graph holds; None where it holds none of the published ones.

    Every kernel of the backbone, input layer to last pooling, must be there with its shape and as often; the head is
    the user's own. The first layer may read any number of channels.
    """
    found = _kernels(graph)
    matches: list[tuple[int, str, float]] = []
    for family in families.by_name().values():
        for alpha in family.alphas:
            layers = trace(Variant(family.name, alpha))
            last = max(place for place, layer in enumerate(layers) if layer.kind == "pool")
            shapes = [layer.kernel_shape for layer in layers[:last] if layer.kernel_shape]
            body: Kernels = Counter(_any_input(shape) for shape in shapes)
            if not body - found:
                matches.append((body.total(), family.name, alpha))
    if not matches:
        return None
    _, name, alpha = max(matches)
    return name, alpha


def _any_input(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], 3, shape[3]) if shape[2] in (1, 3, 4) and shape[3] != 1 else shape


def _kernels(graph: Graph) -> Kernels:
    """Kernel shapes in Keras' layout: HWIO, HWC1 for depthwise."""
    found: Kernels = Counter()
    for op in graph.ops:
        if op.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            continue
        shape = graph.tensors[str(op.inputs[1])].shape
        if op.kind == "FULLY_CONNECTED":
            found[(1, 1, shape[1], shape[0])] += 1
        elif op.kind == "CONV_2D":
            found[_any_input((*shape[1:3], shape[3], shape[0]))] += 1
        else:
            found[(*shape[1:3], shape[3], 1)] += 1
    return found
