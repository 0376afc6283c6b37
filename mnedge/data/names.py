"""Class names: what every reader of a data set lets through, so that labels.txt has one line a class."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.data.annotation import Annotations

# The largest published lists have some 22,000 (ImageNet-21k); more is a mistake that would only cost memory.
MOST_CLASSES = 100_000
# Control characters, line and paragraph separators, and what is left of bytes that are no UTF-8.
_REFUSED = ("Cc", "Zl", "Zp", "Cs")


def checked_name(name: str, where: str) -> str:
    """Returns a class name that stays on its line of labels.txt.

    Args:
        name: The name as read.
        where: Place for the message: file and line, or the folder.

    Raises:
        InputError: The name has a line break, another control character, or bytes that are no UTF-8.
    """
    for place, letter in enumerate(name):
        if unicodedata.category(letter) in _REFUSED:
            raise InputError(
                f"{where}: the class name {name!r} has the character U+{ord(letter):04X} at position {place + 1}; "
                "a class name is one line of labels.txt, without control characters: rename the class"
            )
    return name


def read_names(path: Path) -> list[str]:
    """Reads a list of names, one a line; empty lines may stand at its end only.

    Raises:
        InputError: The file is not UTF-8, has an empty line between its names, or a name is refused.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"{path} cannot be read: {exc}; it is UTF-8 text with one name a line") from exc
    # Not splitlines(), which also breaks at U+2028, U+0085 and form feeds, and would give the names after them others'
    # indices.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    names = []
    for number, line in enumerate(lines, start=1):
        name = checked_name(line.replace("\t", " "), f"{path} line {number}").strip()
        if not name:
            raise InputError(
                f"{path} line {number} is empty, so the names after it would move up by one; take the line out, or "
                "write the name of the class there"
            )
        names.append(name)
    return names


def with_class_list(annotations: Annotations) -> Annotations:
    """Takes the order of the classes from a classes.txt beside the pictures, one name a line.

    Raises:
        InputError: The file is empty, or names a class twice.
    """
    path = annotations.root / "classes.txt"
    if not path.is_file():
        return annotations
    names = read_names(path)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice or not names:
        raise InputError(f"{path} {f'names {twice[0]!r} twice' if twice else 'is empty'}; it is one class name a line")
    return replace(annotations, classes=tuple(names), classes_from=str(path))
