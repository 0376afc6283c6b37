"""JSON of the nouns: dataclasses to text and back, with the place of what does not fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

Noun = TypeVar("Noun")

# report.json of a large sweep has some megabytes; more is no result of mnedge.
_LARGEST_BYTES = 256 << 20


def as_json(noun: object) -> Any:  # noqa: ANN401 - JSON values
    """The noun as JSON values: dicts in the order of the fields, lists, numbers, text; NaN and infinity are None."""
    return msgspec.json.decode(msgspec.json.encode(noun))


def to_json(noun: object) -> str:
    """The noun as JSON text of two-space indentation, ending with a newline."""
    return json.dumps(as_json(noun), indent=2, ensure_ascii=False) + "\n"


def from_json(text: str | bytes, kind: type[Noun], source: str) -> Noun:
    """Reads a noun from JSON text; fields that `kind` does not know are passed over.

    Args:
        text: UTF-8.
        kind: The dataclass.
        source: What messages call the text, e.g. the file's path.

    Raises:
        InputError: The text is no JSON, or a value does not fit its field; the message names the place.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise InputError(f"{source} is not a {kind.__name__} of mnedge: {exc}; make it again") from exc


def read(path: Path, kind: type[Noun]) -> Noun:
    """Reads a noun from a JSON file.

    Raises:
        InputError: The file cannot be read, is larger than any result, or does not hold a `kind`.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InputError(f"{path} has more than {_LARGEST_BYTES >> 20} MiB; no result of mnedge is so large")
        text = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    return from_json(text, kind, str(path))
