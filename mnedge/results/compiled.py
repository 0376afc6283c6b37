"""manifest.json of a compiled artifact, as far as reports read it."""

from __future__ import annotations

from dataclasses import dataclass

from mnedge.results.details import Block


@dataclass(frozen=True)
class Compiled:
    """What a folder of C sources, or a model for an NPU, takes.

    Attributes:
        arena_bytes: Memory of the activations.
        flash_bytes: Code and constants; None where it was not compiled.
        stack_bytes: Deepest stack; None likewise.
        blocks: What lives in the arena; empty for an NPU.
    """

    arena_bytes: int | None = None
    flash_bytes: int | None = None
    stack_bytes: int | None = None
    blocks: tuple[Block, ...] = ()
