"""Limits of a device, and those that a variant breaks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from mnedge.foreign import checked_number

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIGURES = {
    "max_arena_bytes": "ram_bytes",
    "max_ram_bytes": "ram_with_stack_bytes",
    "max_flash_bytes": "flash_bytes",
    "max_size_bytes": "size_bytes",
    "max_macs": "macs",
    "max_ms": "latency_ms",
}


@dataclass(frozen=True)
class Limits:
    """The largest value allowed of each figure; None for any.

    Attributes:
        max_arena_bytes: Arena of the generated C with input and output, as an interpreter's arena holds them; or SRAM
            that Vela asks for.
        max_flash_bytes: Code and constants.
        max_size_bytes: The int8 .tflite.
        max_macs: Multiply-adds of one picture.
        max_ms: Latency of one picture.
        max_ram_bytes: The same memory with the stack of a run.
    """

    max_arena_bytes: int | None = None
    max_flash_bytes: int | None = None
    max_size_bytes: int | None = None
    max_macs: int | None = None
    max_ms: float | None = None
    max_ram_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.max_ms is not None:
            checked_number("--max-ms", self.max_ms)

    def given(self) -> dict[str, float]:
        """The limits that are set, by name."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Broken:
    """A limit that a variant breaks.

    Attributes:
        limit: Name of the limit.
        allowed: Its value.
        needed: Value of the variant.
        is_least: Whether `needed` is a lower bound; it rules the variant out all the same.
    """

    limit: str
    allowed: float
    needed: float
    is_least: bool = False

    @property
    def ratio(self) -> float:
        """Value of the variant over the limit; above 1."""
        return self.needed / self.allowed


def broken(limits: Limits, figures: Mapping[str, float | None], *, is_least: bool = False) -> tuple[Broken, ...]:
    """The limits that some figures break; unknown figures break none.

    Args:
        limits: The limits.
        figures: ram_bytes, ram_with_stack_bytes, flash_bytes, size_bytes, macs and latency_ms, as far as known.
        is_least: The figures are lower bounds.
    """
    found = []
    for name, allowed in limits.given().items():
        needed = figures.get(_FIGURES[name])
        if needed is not None and needed > allowed:
            found.append(Broken(name, allowed, needed, is_least))
    return tuple(found)
