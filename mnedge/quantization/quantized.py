"""Quantized: the int8 Graph and the account of how it came to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnedge.quantization.interpret import first_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.graph.graph import Graph
    from mnedge.results.details import Step


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result of quantization.

    Attributes:
        graph: int8, int8 in and out; tensor names are those of the float graph.
        steps: What was done, in order.
        settings: The choices that make the result again.
    """

    graph: Graph
    steps: tuple[Step, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


def top1_agreement(reference: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Share of rows (of pixels for a segmentation) with the same largest class, 0..1."""
    return float(np.mean(reference.argmax(-1) == other.argmax(-1)))


def int8_agreement(int8: Graph, reference: NDArray[np.floating], images: NDArray[np.float32]) -> float:
    """Top-1 agreement of an int8 graph, in LiteRT, with float outputs.

    Args:
        int8: The quantized graph.
        reference: First output of the float graph for `images`.
        images: float32 (N, H, W, C).
    """
    return top1_agreement(reference, first_output(int8, images))
