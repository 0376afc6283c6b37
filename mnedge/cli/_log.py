"""The log of a command: on standard error with -v and -vv, and all of it in the file of MNEDGE_LOG."""

from __future__ import annotations

import logging
import os
import platform
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import __version__, progress
from mnedge.errors import InputError
from mnedge.text import message

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "MNEDGE_LOG"
_BEGIN = re.compile(rb"\d{4}-\d\d-\d\d ")
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Lines(logging.Formatter):
    """One record, whose further lines are indented and hold nothing that a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return message(super().format(record))


def _check_log(path: Path) -> None:
    """Makes sure that a log is not appended to a file of the user's."""
    # Only where a log is asked for: `--help` reads no file.
    from mnedge.foreign import open_regular

    try:
        with open_regular(path) as stream:
            begin = stream.read(len("2026-11-30 "))
    except FileNotFoundError:
        return
    except OSError as exc:
        raise InputError(f"{VARIABLE}={path} cannot be read: {exc.strerror}; name another file") from exc
    if begin and not _BEGIN.match(begin):
        raise InputError(f"{VARIABLE}={path} holds something else than a log of mnedge; name another file")


def start_log(verbosity: int, words: Sequence[str]) -> None:
    """Begins the log of a command.

    Args:
        verbosity: Number of times that -v was given.
        words: The command line, for the file.

    Raises:
        InputError: The file of MNEDGE_LOG cannot be written, or holds something else than a log.
    """
    level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(_Lines("%(message)s"))
    # What a data set was found to hold is said before any work, in one line; stages are shown as progress.
    shown.addFilter(
        lambda record: (
            record.name != progress.log.name
            and record.levelno >= (min(level, logging.INFO) if record.name.startswith("mnedge.data") else level)
        )
    )
    handlers: list[logging.Handler] = [shown]
    if path := os.environ.get(VARIABLE):
        _check_log(Path(path))
        try:
            written = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
        except OSError as exc:
            raise InputError(f"{VARIABLE}={path} cannot be written: {exc.strerror}; name another file") from exc
        written.setFormatter(_Lines("%(asctime)s %(levelname)-7s %(message)s"))
        handlers.append(written)
    logging.basicConfig(level=level, handlers=handlers)
    logging.getLogger("mnedge").setLevel(logging.DEBUG if len(handlers) > 1 else min(level, logging.INFO))
    versions = f"mnedge {__version__}, Python {platform.python_version()}, {platform.platform()}"
    logging.getLogger(__name__).debug("%s: mnedge %s", versions, shlex.join(words))
