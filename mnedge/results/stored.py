"""JSON of the nouns: dataclasses to text and back; errors name the place of a wrong value.

A field of a noun may say how it stands in JSON: `FLAT`, its own fields stand in the row of the noun that holds it;
`ABSENT`, it is left out while it is None.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import msgspec

from mnedge.errors import InputError
from mnedge.foreign import read_file
from mnedge.text import utf8

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.untyped import Json, JsonObject

Noun = TypeVar("Noun")

FLAT: Mapping[str, bool] = {"flat": True}
ABSENT: Mapping[str, bool] = {"absent": True}

# report.json of a large sweep has some megabytes; more is no result of mnedge.
_LARGEST_BYTES = 256 << 20


@runtime_checkable
class _OwnJson(Protocol):
    """A noun that writes its JSON itself."""

    def as_stored(self) -> Mapping[str, object]: ...


def as_json(noun: object) -> Json:
    """The noun as JSON values: dicts in the order of the fields, lists, numbers, text; NaN and infinity are None."""
    # Most values are numbers of long lists: the protocol, which is slow to ask, comes after the plain kinds.
    if noun is None or isinstance(noun, (str, int, float)):
        return _plain(noun)
    if isinstance(noun, (list, tuple)):
        return [as_json(value) for value in noun]
    if isinstance(noun, _OwnJson):
        return as_json(noun.as_stored())
    if is_dataclass(noun):
        return _fields_of(noun)
    if isinstance(noun, Mapping):
        return {utf8(str(name)): as_json(value) for name, value in noun.items()}
    return _plain(noun)


def as_row(noun: object) -> JsonObject:
    """The noun, a dataclass or a mapping, as one JSON object; see `as_json`."""
    row = as_json(noun)
    if not isinstance(row, dict):
        raise TypeError(f"a {type(noun).__name__} is no JSON object")
    return row


def _plain(value: object) -> str | float | None:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return utf8(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, PurePath):
        return utf8(str(value))
    raise TypeError(f"a {type(value).__name__} has no JSON")


def _fields_of(noun: object) -> JsonObject:
    row: JsonObject = {}
    for field in fields(noun):  # type: ignore[arg-type] # of a dataclass
        value = getattr(noun, field.name)
        if value is None and ("absent" in field.metadata or "flat" in field.metadata):
            continue
        if "flat" in field.metadata:
            row |= as_row(value)
        else:
            row[field.name] = as_json(value)
    return row


def to_json(noun: object) -> str:
    """The noun as JSON text of two-space indentation, ending with a newline."""
    return json.dumps(as_json(noun), indent=2, ensure_ascii=False) + "\n"


def to_line(noun: object) -> str:
    """The noun as JSON text on one line, ending with a newline."""
    return json.dumps(as_json(noun), ensure_ascii=False) + "\n"


def from_json(text: str | bytes, kind: type[Noun], source: str) -> Noun:
    """Reads a noun from JSON text; fields that `kind` does not know are passed over.

    A kind with a function `of_stored` puts the JSON values into the shape of its fields first; one with `FILE` is
    called so in messages.

    Args:
        text: UTF-8.
        kind: The dataclass.
        source: Name of the text in messages, e.g. the file's path.

    Raises:
        InputError: The text is no JSON, or a value does not fit its field; the message names the place.
    """
    of_stored = getattr(kind, "of_stored", None)
    try:
        values = msgspec.json.decode(text)
        if of_stored is not None and isinstance(values, dict):
            values = of_stored(values)
        return msgspec.convert(values, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        name = getattr(kind, "FILE", kind.__name__)
        raise InputError(f"{source} is not a {name} of mnedge: {exc}; make it again") from exc


def read(path: Path, kind: type[Noun], *, follow: bool = True) -> Noun:
    """Reads a noun from a JSON file.

    Args:
        path: The file.
        kind: The dataclass.
        follow: Whether the file may be a symbolic link.

    Raises:
        InputError: The file cannot be read, is no regular file, is larger than any result, or does not hold a `kind`.
    """
    return from_json(read_file(path, _LARGEST_BYTES, follow=follow), kind, str(path))
