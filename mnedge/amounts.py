"""Amounts with units that leave no doubt: bytes of memory, and numbers of multiply-adds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.foreign import checked_number

if TYPE_CHECKING:
    from collections.abc import Mapping

_BYTES = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_COUNTS = {"k": 10**3, "m": 10**6, "g": 10**9}


def parse_bytes(text: str, option: str) -> int:
    """A memory size with its unit, e.g. "256K"; K, KB and KiB are 1,024 bytes, as in data sheets.

    Args:
        text: Text as the user gave it.
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
