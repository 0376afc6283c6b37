"""Quantized: the int8 Graph and the account of how it came to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, overload

from mnedge.graph.heads import same_answers, snr_db
from mnedge.quantization.interpret import first_output
from mnedge.results.details import Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head
    from mnedge.results.report import LayerBits


_Answering = Literal["softmax", "logits", "sigmoid", "multi-label"]


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result of quantization.

    Attributes:
        graph: int8, int8 in and out; tensor names are those of the float graph.
        steps: Steps of the quantization, in order.
        settings: The choices that make the result again.
        layers: Bits of every layer, where some have 16.
    """

    graph: Graph
    steps: tuple[Step, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    layers: tuple[LayerBits, ...] = ()


@overload
def agreement_of(head: _Answering, reference: NDArray[np.floating], other: NDArray[np.floating]) -> float: ...


@overload
def agreement_of(head: Head, reference: NDArray[np.floating], other: NDArray[np.floating]) -> float | None: ...


def agreement_of(head: Head, reference: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """Share of the answers that both outputs have in common, 0..1; None where they give none."""
    same = same_answers(head, reference, other)
    return None if same is None else float(same.mean())


def measured_step(
    name: str, seconds: float, int8: Graph, head: Head, reference: NDArray[np.floating], images: Samples
) -> Step:
    """The row of a finished step.

    Args:
        name: Name of the step.
        seconds: That it took.
        int8: The quantized graph after it; it runs in LiteRT.
        head: Kind of the first output.
        reference: First output of the float graph for `images`.
        images: float32 (N, H, W, C), or a `Batch`.
    """
    made = first_output(int8, images)
    agreement, noise = agreement_of(head, reference, made), snr_db(reference, made)
    return Step(
        name,
        round(seconds, 2),
        None if agreement is None else round(agreement, 4),
        None if noise is None else round(noise, 2),
    )
