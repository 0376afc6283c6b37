"""Ends of the program: by a signal, without a reader of its output, or by a bug of its own."""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING

from mnedge import __version__
from mnedge.errors import FULL, InputError, StorageError, ToolError
from mnedge.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from typing_extensions import Buffer

BUG = 70
_INTERRUPTED = 130
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_SAME_S = 2.0
_AGAIN_S = 0.02
_STDOUT = 1


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: whatever cleans up after Ctrl-C cleans up after them."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


# Filled by Ctrl-C: libraries that it meets in their native code make errors of their own of it, without a cause.
_INTERRUPTS: list[float] = []
# The signal that is being obeyed, and when it came (seconds of a clock of its own); empty before.
_RECEIVED: list[tuple[Terminated, float]] = []


def received() -> Terminated | None:
    """The signal that ended the work; None where none did."""
    return _RECEIVED[-1][0] if _RECEIVED else None


def interrupted() -> bool:
    """Tells whether Ctrl-C was pressed."""
    return bool(_INTERRUPTS)


def catch_signals() -> None:
    """Turns signals that would end the program on the spot, or as process 1 not at all, into `Terminated`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    for number in _SIGNALS:
        # `nohup` ignores SIGHUP for its child, and that is to stay.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _receive)
    if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
        sys.unraisablehook = _raise_later


def _raise_later(unraisable: sys.UnraisableHookArgs) -> None:
    """Raises once more what a signal raised within a finalizer, which Python passes over, when that has ended."""
    swallowed = unraisable.exc_value
    if not isinstance(swallowed, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return

    def again(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise swallowed

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    _INTERRUPTS.append(time.monotonic())
    raise KeyboardInterrupt


def _receive(number: int, frame: FrameType | None) -> None:
    del frame
    now = time.monotonic()
    # `timeout` tells a process and then its group: the second is the same one, and the first is being obeyed.
    if _RECEIVED and now - _RECEIVED[-1][1] < _SAME_S:
        return
    _RECEIVED.append((Terminated(number), now))
    raise _RECEIVED[-1][0]


class _Stream(io.FileIO):
    """Standard output or error; text is dropped once its reader has left.

    Raises:
        StorageError: (On writing.) It leads to a file, and the disk is full; later writes go nowhere.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._is_over = False

    def write(self, data: Buffer, /) -> int:
        if not self._is_over:
            try:
                return super().write(data)
            except BrokenPipeError:
                # The reader of a pipe (head, less) has seen enough.
                self._is_over = True
            except OSError as exc:
                self._is_over = True
                if self.fileno() == _STDOUT:
                    raise StorageError(f"standard output cannot be written: {exc.strerror}") from exc
        return memoryview(data).nbytes


class _Shown(io.TextIOWrapper):
    """Standard output or error as text, on which nothing that a terminal obeys comes from the name of a file.

    Attributes:
        terminal: The same stream, for what rich draws: colours, bars, and where they stand.
    """

    def __init__(
        self, raw: io.BufferedWriter[_Stream], *, encoding: str, errors: str | None, line_buffering: bool
    ) -> None:
        # Written through, so that both write in the order in which they are written to.
        super().__init__(raw, encoding, errors, line_buffering=line_buffering, write_through=True)
        self.terminal = io.TextIOWrapper(raw, encoding, errors, line_buffering=line_buffering, write_through=True)

    def write(self, text: str, /) -> int:
        super().write(plain(text))
        return len(text)


def mend_streams() -> None:
    """Makes standard output and error such that a reader who leaves, or was never there, ends nothing."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Otherwise the next file that is opened would get its number, and be printed into.
            os.open(os.devnull, os.O_RDWR)
    # Who calls this from a program with streams of its own keeps those.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _mended(sys.stdout, line_buffering=False)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _mended(sys.stderr, line_buffering=True)


def _mended(stream: io.TextIOWrapper | object, *, line_buffering: bool) -> io.TextIOWrapper:
    if not isinstance(stream, io.TextIOWrapper):
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - it lives as long as the program
    stream.flush()
    raw = io.BufferedWriter(_Stream(stream.fileno()))
    # Names of files need not be text.
    errors = "backslashreplace" if stream.errors == "strict" else stream.errors
    buffering = line_buffering or stream.isatty()
    return _Shown(raw, encoding=stream.encoding, errors=errors, line_buffering=buffering)


def flushed(code: int) -> int:
    """The exit code after the last of the output is out: that of a full disk where only this fails."""
    try:
        sys.stdout.flush()
    except StorageError as exc:
        sys.stderr.write(f"mnedge: {exc}\n")
        return code or exc.exit_code
    return code


def unexpected(exc: Exception, args: Sequence[str]) -> tuple[int, str]:
    """Classifies an unforeseen error: a full disk, no memory, Ctrl-C that a library made another error of, or a bug.

    Returns:
        The exit code, and what to tell the user.
    """
    causes = list(_causes(exc))
    if isinstance(exc, OSError) and exc.errno in FULL:
        return StorageError.exit_code, _full(exc)
    if isinstance(exc, OSError) and exc.errno == errno.ENAMETOOLONG:
        return (
            InputError.exit_code,
            f"{exc.filename or 'a file'} cannot be used: {exc.strerror}; give it a shorter name",
        )
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return _INTERRUPTED, "interrupted"
    if (want := next(filter(None, map(_want, causes)), None)) is not None:
        return ToolError.exit_code, want
    return BUG, _reported(exc, args)


def _full(exc: OSError) -> str:
    import tempfile

    if exc.filename:
        return f"{exc.filename} cannot be written: {exc.strerror}; free some space there"
    said = f"a file, maybe in {tempfile.gettempdir()}, cannot be written: {exc.strerror}"
    return f"{said}; free some space there, or set TMPDIR to a folder with room"


def _want(exc: BaseException) -> str | None:
    """Message for an exhausted resource of the machine, with advice; None for another error."""
    number = exc.errno if isinstance(exc, OSError) else None
    # The stack of a thread is memory too.
    no_thread = isinstance(exc, RuntimeError) and "can't start new thread" in str(exc)
    if isinstance(exc, MemoryError) or no_thread or number == errno.ENOMEM:
        advice = "stop other programs, raise its limit (ulimit -v), or take a smaller model or fewer pictures"
        return f"this process has no memory left; {advice}"
    if number in (errno.EMFILE, errno.ENFILE):
        return "too many files are open; raise the limit, e.g. ulimit -n 1024"
    return None


def _causes(exc: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _reported(exc: BaseException, args: Sequence[str]) -> str:
    """Writes what a report of a bug needs into a file, and says which; where that cannot be, the text itself."""
    import platform
    import tempfile
    import traceback

    from mnedge.cache import tool_versions

    tools = {"mnedge": __version__, "python": platform.python_version(), **tool_versions()}
    lines = (
        f"command: mnedge {shlex.join(args)}",
        f"system: {platform.platform()}",
        f"versions: {', '.join(f'{name} {number}' for name, number in tools.items())}",
        "",
        "".join(traceback.format_exception(exc)),
    )
    text = "\n".join(lines)
    what = traceback.format_exception_only(exc)[-1].strip()
    said = f"this is a bug in mnedge, not in what you gave it: {what}"
    try:
        handle, name = tempfile.mkstemp(prefix="mnedge-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError:
        return f"{said}\n{text}\nReport the lines above, with the input where you can."
    return f"{said}\nmnedge: the traceback is in {name}; report it with that file, and the input where you can"
