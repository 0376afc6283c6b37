"""XML files of others."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET
from xml.parsers import expat

from mnedge.errors import InputError
from mnedge.foreign import read_file

if TYPE_CHECKING:
    from pathlib import Path


def parsed(path: Path, tag: str, what: str, most_bytes: int) -> ET.Element:
    """Reads an XML file.

    Args:
        path: The file.
        tag: Tag of its outermost element.
        what: Name of the format in messages.
        most_bytes: Size of the largest file that is read.

    Raises:
        InputError: It cannot be read, is no XML, or begins with another element.
    """
    content = read_file(path, most_bytes)
    try:
        # Entities of their own are what makes XML explode; these formats have none.
        if _defines_entities(content):
            raise InputError(f"{path} defines entities, which {what} has not; export it again")
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


class _FoundError(Exception):
    """An entity is defined."""


def _defines_entities(content: bytes) -> bool:
    """Returns whether a document defines entities, as its parser sees it: in any encoding, before one is expanded."""

    def found(*_definition: object) -> None:
        raise _FoundError

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = found
    try:
        parser.Parse(content, True)  # noqa: FBT003 - whether this is all
    except _FoundError:
        return True
    except expat.ExpatError:
        # The reader of the document reports where it is broken.
        return False
    return False
