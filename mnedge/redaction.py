"""Text that can be sent to strangers: paths, the user's and the machine's name are taken out of it."""

from __future__ import annotations

import getpass
import platform
import re
from itertools import count
from pathlib import PurePath

# Absolute, relative or home paths, with either slash; or a name without a folder that can only be a file of the user.
_PATH = re.compile(
    r"(?<![\w:/<])(?:~|\.{1,2}|[A-Za-z]:)?(?:[/\\][^\s/\\'\"`,;:)\]}>]+)+[/\\]?"
    r"|(?:[\w.-]+/)+[\w.-]*[A-Za-z][\w.-]*"
    r"|(?<![\w<.])[\w.-]+\.(?:keras|h5|tflite|lite|onnx|ort|npy|npz|csv|txt|yaml|yml|zip|jpe?g|png)\b"
)
_HOST = re.compile(r"((?:ssh|adb)://)[^\s'\"?]+")


def without_names(text: str) -> str:
    """Replaces each path by <path N> with its suffix, a device's address and the names of user and machine by words.

    The same path has the same number, so that a log can still be followed.
    """
    numbers: dict[str, str] = {}
    counter = count(1)

    def numbered(found: re.Match[str]) -> str:
        path = found[0].rstrip("/\\")
        if path not in numbers:
            numbers[path] = f"<path {next(counter)}>{PurePath(path).suffix[:8]}"
        return numbers[path]

    text = _HOST.sub(r"\1<device>", text)
    text = _PATH.sub(numbered, text)
    for name, word in ((_user(), "<user>"), (platform.node(), "<machine>")):
        if name:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", word, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        return ""
