"""The memory plan of a microcontroller build as a plot: time across, addresses upwards; geometry as in `plots`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from mnedge.report import figures
from mnedge.report.axes import Tick, along, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.results.compilation import Block as Tensor
    from mnedge.results.details import MemoryPlan


@dataclass(frozen=True)
class Block:
    """A block of the arena: left edge and width in percent, top and height in pixels, its words and its kind."""

    x: float
    y: float
    width: float
    height: float
    words: str
    kind: str
    at_peak: bool


@dataclass(frozen=True)
class MemoryPlot:
    """The arena: steps across, addresses upwards; `overlaps` where an output takes the place of its input."""

    blocks: tuple[Block, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    arena: Tick
    height: float
    words: str
    overlaps: bool


def memory_plot(plan: MemoryPlan | None, *, height: float = 320.0) -> MemoryPlot | None:
    """Places the tensors of a memory plan by time and address.

    Args:
        plan: The plan; None for a build without C.
        height: Pixels.
    """
    if plan is None or not plan.tensors:
        return None
    tensors = plan.tensors
    count = 1 + max(tensor.last for tensor in tensors)
    highest = max(tensor.offset + tensor.bytes for tensor in tensors)
    arena = plan.arena_bytes or highest
    top, bottom = 26.0, height - 40.0
    kib = ticks(0.0, max(arena, highest) / 1024, 5)
    end = max(arena, highest, 1024 * kib[-1])
    x_of, y_of = along(0.0, count), along(0.0, end, bottom, top)
    blocks = []
    for tensor in tensors:
        first, last, offset, size = tensor.first, tensor.last, tensor.offset, tensor.bytes
        blocks.append(
            Block(
                x=x_of(first),
                y=y_of(offset + size),
                width=x_of(last + 1) - x_of(first),
                height=max(1.0, y_of(offset) - y_of(offset + size)),
                words=f"{tensor.name}: {figures.size(size)} at {offset:,}, steps {first} to {last}",
                kind=tensor.kind,
                at_peak=offset + size == highest,
            )
        )
    every = max(1, round(count / 6))
    return MemoryPlot(
        blocks=tuple(blocks),
        x_ticks=tuple(Tick(x_of(step + 0.5), str(step)) for step in range(0, count, every)),
        y_ticks=tuple(Tick(y_of(1024 * value), figures.axis(value)) for value in kib),
        arena=Tick(y_of(arena), figures.size(arena)),
        height=height,
        words=f"{len(tensors)} blocks in {count} steps share {arena:,} bytes",
        overlaps=_overlap(tensors),
    )


def _overlap(tensors: Sequence[Tensor]) -> bool:
    return any(
        one.first <= other.last
        and other.first <= one.last
        and one.offset < other.offset + other.bytes
        and other.offset < one.offset + one.bytes
        for one, other in combinations(tensors, 2)
    )
