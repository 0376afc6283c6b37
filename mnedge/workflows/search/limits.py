"""Limits of a device, with units that leave no doubt, and the limits that a variant breaks."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.foreign import checked_number

if TYPE_CHECKING:
    from collections.abc import Mapping

_BYTES = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_COUNTS = {"k": 10**3, "m": 10**6, "g": 10**9}
_FIGURES = {
    "max_arena_bytes": "arena_bytes",
    "max_flash_bytes": "flash_bytes",
    "max_size_bytes": "size_bytes",
    "max_macs": "macs",
    "max_ms": "latency_ms",
}


@dataclass(frozen=True)
class Limits:
    """The largest value allowed of each figure; None for any.

    Attributes:
        max_arena_bytes: Working memory of the generated C, or SRAM that Vela asks for.
        max_flash_bytes: Code and constants.
        max_size_bytes: The int8 .tflite.
        max_macs: Multiply-adds of one picture.
        max_ms: Latency of one picture.
    """

    max_arena_bytes: int | None = None
    max_flash_bytes: int | None = None
    max_size_bytes: int | None = None
    max_macs: int | None = None
    max_ms: float | None = None

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
        figures: arena_bytes, flash_bytes, size_bytes, macs and latency_ms, as far as they are known.
        is_least: The figures are lower bounds.
    """
    found = []
    for name, allowed in limits.given().items():
        needed = figures.get(_FIGURES[name])
        if needed is not None and needed > allowed:
            found.append(Broken(name, allowed, needed, is_least))
    return tuple(found)


def parse_bytes(text: str, option: str) -> int:
    """A memory size with its unit, e.g. "256K"; K, KB and KiB are 1,024 bytes, as in data sheets.

    Args:
        text: As the user gave it.
        option: Name of the option, for the message.

    Raises:
        InputError: No number, no unit, an unknown one, or nothing left.
    """
    return round(_parse(text, option, _BYTES, r"([kmg])(?:i?b)?|b", "256K, 256KB or 256KiB, 1M, or 262144B"))


def parse_count(text: str, option: str) -> int:
    """A number of multiply-adds, e.g. "10M"; M is a million.

    Raises:
        InputError: As `parse_bytes`.
    """
    return round(_parse(text, option, _COUNTS, r"([kmg])", "500K, 10M or 1.5G"))


def bytes_of(given: int | str | None, option: str) -> int | None:
    """A memory size as a number of bytes, or as text with its unit; None stays None.

    Raises:
        InputError: As `parse_bytes`, or the number is not above 0.
    """
    return parse_bytes(given, option) if isinstance(given, str) else _checked(given, option)


def count_of(given: int | str | None, option: str) -> int | None:
    """A number of multiply-adds, plain or as text with its unit; None stays None.

    Raises:
        InputError: As `parse_count`, or the number is not above 0.
    """
    return parse_count(given, option) if isinstance(given, str) else _checked(given, option)


def _checked(given: int | None, option: str) -> int | None:
    if given is not None:
        checked_number(option, given)
    return given


def _parse(text: str, option: str, units: Mapping[str, int], pattern: str, examples: str) -> float:
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*(?:{pattern})", text.strip().lower())
    if match is None:
        number = re.fullmatch(r"\d+(?:\.\d+)?", text.strip())
        what = f"{text} of what?" if number else f"{text!r} is no amount."
        raise InputError(f"{option} {text}: {what} Give a number and its unit: {examples}")
    value = float(match[1]) * units[match[2] or "b"]
    if value < 1:
        raise InputError(f"{option} {text} leaves nothing; give more than zero, e.g. {examples}")
    return value
