"""The errors a user can meet, and the exit code of each.

MnedgeError
├─ InputError        bad recipe, file, name or data          exit 2
├─ UnsupportedError  a target or format cannot take this     exit 3
├─ BudgetError       needs N bytes, the target has M         exit 3
├─ ToolError         a program or device is missing or fails exit 4
├─ StorageError      a disk is full or fails                 exit 74
└─ GateError         a measurement broke its limit           exit 1

A message says what happened, where, what was got, what is allowed and what to do next. Only `cli/` catches
these; anything else is a bug: exit 70, and the traceback goes into a file that is named.
"""

from __future__ import annotations

import difflib
import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Error numbers of a disk that is full or fails.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def last_line(error: BaseException) -> str:
    """Returns the last line of a library's message without its full stop; the type's name if the message is empty."""
    # str() of a KeyError is the key in quotes.
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip().splitlines()
    return lines[-1].rstrip(".") if lines else type(error).__name__


def kind_of(error: MnedgeError) -> str:
    """Name of the error's class, or of the nearest base class that this module has."""
    return next(base.__name__ for base in type(error).__mro__ if base.__module__ == __name__)


def of_kind(kind: str, message: str) -> MnedgeError:
    """The error of a kind that `kind_of` gave; MnedgeError for another name."""
    known = (InputError, UnsupportedError, BudgetError, ToolError, StorageError, GateError)
    return next((error for error in known if error.__name__ == kind), MnedgeError)(message)


class MnedgeError(Exception):
    """The root: `str(error)` is the one message that the user sees."""

    exit_code = 1


class InputError(MnedgeError):
    """A recipe, file, name or data set that cannot be used as it is."""

    exit_code = 2

    @classmethod
    def unknown(cls, what: str, got: str, known: Iterable[str]) -> InputError:
        """Builds the error for a name that is not in a list, with the nearest known name.

        Args:
            what: The kind of name, e.g. "target".
            got: The name as given.
            known: The names that exist.
        """
        names = sorted(known)
        near = difflib.get_close_matches(got, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return cls(f"unknown {what} {got!r}{hint} Known: {', '.join(names)}")


class UnsupportedError(MnedgeError):
    """An op, variant or option that a target, runtime or format cannot take."""

    exit_code = 3


class BudgetError(MnedgeError):
    """An artifact needs more memory than its target or budget has."""

    exit_code = 3

    @classmethod
    def exceeded(cls, what: str, needed_bytes: int, budget_bytes: int, advice: str) -> BudgetError:
        """Builds the error from the two sizes and the nearest way out."""
        return cls(f"{what} needs {needed_bytes:,} bytes, the budget is {budget_bytes:,}; {advice}")


class ToolError(MnedgeError):
    """A program or device is missing, refused or failed; carries its last words."""

    exit_code = 4


class StorageError(MnedgeError):
    """A disk is full or fails: the same command works when there is room."""

    exit_code = 74


class GateError(MnedgeError):
    """A measured value is on the wrong side of a gate's limit."""

    exit_code = 1
