"""XML files of others."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def parsed(path: Path, tag: str, what: str, most_bytes: int) -> ET.Element:
    """Reads an XML file.

    Args:
        path: The file.
        tag: Of its outermost element.
        what: What messages call the format.
        most_bytes: Size of the largest file that is read.

    Raises:
        InputError: It cannot be read, is no XML, or begins with another element.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(most_bytes + 1)
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(content) > most_bytes:
        raise InputError(f"{path} has more than {most_bytes:,} bytes, too many for {what}")
    # Entities of their own are what makes XML explode; these formats have none.
    if b"<!ENTITY" in content:
        raise InputError(f"{path} defines entities, which {what} has not; export it again")
    try:
        tree = ET.fromstring(content)  # noqa: S314 - without entities there is nothing to expand
    except ET.ParseError as exc:
        raise InputError(f"{path} line {exc.position[0]} is no XML: {exc}; export it again") from exc
    except (ValueError, LookupError) as exc:
        raise InputError(f"{path} has an encoding that is not known: {exc}; export it as UTF-8") from exc
    except RecursionError as exc:
        raise InputError(f"{path} has elements within thousands of elements; export it again") from exc
    if tree.tag != tag:
        raise InputError(f"{path} begins with <{tree.tag}>; {what} begins with <{tag}>")
    return tree
