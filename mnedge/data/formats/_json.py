"""JSON files of others, held to the shape that their format has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from mnedge.errors import InputError
from mnedge.foreign import open_regular, read_file

if TYPE_CHECKING:
    from pathlib import Path

Shape = TypeVar("Shape")
_LARGEST_BYTES = 2 << 30
_LOOK_BYTES = 1 << 16


def beginning(path: Path) -> bytes:
    """The first 64 KiB of a file, to recognise it by: a broken file should be told of as broken; b"" for none."""
    try:
        with open_regular(path) as stream:
            return stream.read(_LOOK_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return b""


def decoded(path: Path, shape: type[Shape], what: str, most_bytes: int = _LARGEST_BYTES) -> Shape:
    """Reads a JSON file of a known shape.

    Args:
        path: The file.
        shape: A msgspec struct, or a list or dict of such.
        what: Name of the format in messages.
        most_bytes: Size of the largest file that is read.

    Raises:
        InputError: It cannot be read, is no JSON, or has another shape; the message has the place.
    """
    content = read_file(path, most_bytes).removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.ValidationError as exc:
        raise InputError(f"{path}: {_place(str(exc))}; it is not {what} as its tools write it") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        told = re.search(r"\(byte (\d+)\)", str(exc))
        line = content[: int(told[1])].count(b"\n") + 1 if told else content.count(b"\n") + 1
        raise InputError(f"{path} line {line} is no JSON: {exc}; export it again") from exc
    except (RecursionError, OverflowError, ValueError) as exc:
        raise InputError(f"{path} is no JSON that can be read: {exc}; export it again") from exc


def _place(message: str) -> str:
    """A message of msgspec with its place first: "images[0]: Object missing required field `file_name`"."""
    said, _, place = message.partition(" - at `$")
    place = place.rstrip("`").removeprefix(".")
    return f"{place}: {said}" if place else said
