"""Input of people and other programs: numbers, paths and YAML, checked once, where they are read."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import yaml

from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

# A FlatBuffer has no more, and neither has a protocol buffer.
MODEL_BYTES = (2 << 30) - 1
# Recipes and settings have some dozens of lines; more is another file, given by mistake.
_LARGEST_BYTES = 1 << 20


def is_file(path: Path) -> bool:
    """Returns whether a file exists; `Path.is_file` raises for names that no file system takes."""
    return os.path.isfile(path)  # noqa: PTH113 - see above


def is_folder(path: Path) -> bool:
    """Returns whether a folder exists; see `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112 - see `is_file`


def is_there(path: Path) -> bool:
    """Returns whether a file or folder exists; see `is_file`."""
    return os.path.exists(path)  # noqa: PTH110 - see `is_file`


def open_regular(path: Path, *, follow: bool = True) -> BinaryIO:
    """Opens a regular file for reading; a pipe, socket or device is refused, and never waited for.

    Args:
        path: The file.
        follow: Whether it may be a symbolic link.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    try:
        # Without O_NONBLOCK a named pipe waits for somebody who writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except ValueError as exc:
        raise FileNotFoundError(errno.ENOENT, "no file has such a name", str(path)) from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from exc
        if exc.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is no regular file", str(path)) from exc
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(handle, "rb")


def read_file(path: Path, most_bytes: int, *, follow: bool = True) -> bytes:
    """Reads a regular file up to a limit.

    Args:
        path: The file.
        most_bytes: The most bytes that such a file has.
        follow: Whether it may be a symbolic link.

    Raises:
        InputError: It cannot be read, is no regular file, or is larger.
    """
    try:
        with open_regular(path, follow=follow) as stream:
            # Question first: a read of so many bytes would take the memory for them, however few there are.
            size = os.fstat(stream.fileno()).st_size
            if size <= most_bytes:
                return stream.read()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    raise InputError(f"{path} has {size:,} bytes, and such a file has at most {most_bytes:,}")


def parse_json(text: bytes | str) -> object:
    """JSON values of a text of others; NaN and infinity, which JSON does not have, are refused.

    Raises:
        ValueError: It is no JSON, no UTF-8, nested too deeply, or a number is too large.
    """
    try:
        found: object = json.loads(text, parse_constant=_refused_constant, parse_float=_finite)
    except RecursionError as exc:
        raise ValueError("it nests too deeply") from exc
    return found


def _refused_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:20]} is too large")
    return value


def checked_number(name: str, value: float, *, most: float = math.inf) -> float:
    """Returns a number that is above 0, finite, and at most `most`.

    Args:
        name: Its name in the message, with its unit.
        value: The number as given; nan compares as neither small nor large, so it is named here.
        most: The largest that is allowed.

    Raises:
        InputError: It is not.
    """
    if not (math.isfinite(value) and 0 < value <= most):
        shown = "" if math.isinf(most) else f" and at most {most:,g}"
        raise InputError(f"{name} is {value}; it is a number above 0{shown}")
    return value


@dataclass(frozen=True)
class Setting:
    """A `key: value` of a YAML file.

    Attributes:
        value: None, bool, int, float, str, date, list or dict.
        line: The line of its key, from 1.
    """

    value: object
    line: int


def read_mapping(path: Path, example: str, *, may_be_empty: bool = False) -> dict[str, Setting]:
    """Reads a YAML file whose top level is a mapping.

    Args:
        path: The file.
        example: A line as messages show it, such as `variant: v3-small`.
        may_be_empty: Whether a file without any line is an empty mapping, not an error.

    Returns:
        The settings by name, in the file's order.

    Raises:
        InputError: The file cannot be read, is not YAML, is no mapping of names, or has a key twice.
    """
    try:
        with open_regular(path) as stream:
            data = stream.read(_LARGEST_BYTES + 1)
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    if len(data) > _LARGEST_BYTES:
        raise InputError(f"{path} has more than {_LARGEST_BYTES:,} bytes; it is a list of lines such as `{example}`")
    try:
        text = data.decode("utf-8-sig")
        document = yaml.compose(text, Loader=yaml.SafeLoader)
        if document is None and may_be_empty:
            return {}
        _check_keys(path, document, example)
        values = yaml.safe_load(text)
    except UnicodeDecodeError as exc:
        raise InputError(f"{path} cannot be read: {exc}; it is UTF-8 text") from exc
    except yaml.YAMLError as exc:
        raise InputError(f"{path} is not YAML: {' '.join(str(exc).split())}") from exc
    except (ValueError, LookupError, RecursionError, ArithmeticError, AttributeError, TypeError) as exc:
        # A date such as 2024-13-45, lists within thousands of lists, a number of thousands of digits or of none.
        raise InputError(f"{path} is not YAML that can be read: {exc}") from exc
    assert isinstance(document, yaml.MappingNode)
    return {key.value: Setting(values[key.value], key.start_mark.line + 1) for key, _ in document.value}


def _check_keys(path: Path, document: yaml.Node | None, example: str) -> None:
    """Refuses YAML that is no mapping, has keys that are no names, repeats a key, or has references."""
    if not isinstance(document, yaml.MappingNode):
        raise InputError(f"{path} line 1: it is a list of `key: value` lines, e.g. `{example}`")
    waiting: list[yaml.Node] = [document]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        line = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            continue
        if id(node) in seen:
            # An alias of an alias of an alias grows to more than any memory holds, or has no end.
            raise InputError(f"{path} line {line}: it is referred to with *; write the value out where it is needed")
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            own = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise InputError(f"{path} line {own}: a key is a name, e.g. `{example}`")
            if key.value in lines:
                raise InputError(
                    f"{path} line {own}: {key.value!r} stands in line {lines[key.value]} already, and only one of the "
                    "two would count; make them one"
                )
            lines[key.value] = own
            waiting.append(value)
