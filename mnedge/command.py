"""The only file that starts a process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.errors import StorageError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)
_LAST_WORDS = 1200
_GRACE_S = 2.0
_GLANCE_S = 0.2
# No program that is run here to its end says more; what says more does not end.
_MOST_BYTES = 512 << 20
_PART_BYTES = 1 << 16
# ONNX Runtime sends nothing, and leaves no file of what it would, unless the user says otherwise.
_DEFAULTS = {"ORT_DISABLE_TELEMETRY": "1"}
# Messages in English; encodings stay those of the user.
_ENVIRONMENT = {"LANGUAGE": "en"}
# Words of programs for a disk without room; `start` asks them to say it in English.
_NO_ROOM = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


class OutOfTimeError(ToolError):
    """A program that had to be stopped because its time was over."""


@dataclass(frozen=True)
class Finished:
    """A process that ended. `returncode` is negative for a signal, as in `subprocess`."""

    args: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text; undecodable bytes are replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def last_words(self) -> str:
        """The end of standard error, or of standard output where that is empty."""
        text = (self.stderr.strip() or self.stdout.strip()).decode(errors="replace")
        return text[-_LAST_WORDS:]


def find(program: str, advice: str) -> str:
    """Returns the path of `program`.

    Raises:
        ToolError: It is not on PATH; `advice` says how to get it.
    """
    path = shutil.which(program)
    if path is None:
        raise ToolError(f"{program} not found on PATH; {advice}")
    return path


def run(
    args: Sequence[str | Path],
    *,
    timeout_s: float = 600.0,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    stop: threading.Event | None = None,
    most_bytes: int = _MOST_BYTES,
) -> Finished:
    """Runs a program to its end and collects its output.

    The child gets a process group of its own, which is killed on a time-out and on Ctrl-C, so that nothing is
    left running.

    Args:
        args: Program and arguments; no shell is involved.
        timeout_s: Seconds after which the group is killed.
        stdin: Bytes for its standard input; None for an empty one.
        cwd: Working directory.
        env: Variables on top of this process' own.
        check: Raise where the exit status is not 0.
        stop: Set by another thread to end the program before its time.
        most_bytes: Bytes that it may print; a program that prints more is ended.

    Raises:
        OutOfTimeError: It ran out of time.
        ToolError: The program is missing, was stopped, printed too much, or (with `check`) failed.
        StorageError: (With `check`.) It failed for want of room on a disk.
    """
    process = start(args, stdin=stdin is not None, cwd=cwd, env=env)
    argv = tuple(str(arg) for arg in args)
    try:
        with _ending(process, stop):
            stdout, stderr = _communicate(process, stdin or b"", time.monotonic() + timeout_s, most_bytes)
    except TimeoutError as exc:
        kill(process)
        raise OutOfTimeError(f"{shlex.join(argv)} was stopped after {timeout_s:g} s without an end") from exc
    except _FloodError as exc:
        kill(process)
        raise ToolError(
            f"{argv[0]} was stopped: it printed more than {most_bytes >> 20:,} MiB, without an end"
        ) from exc
    except BaseException:
        try:
            # Compilers remove their temporary files when they are asked to end, and not when they are killed.
            end_gently([process], _GRACE_S)
        finally:
            kill(process)
        raise
    if stop is not None and stop.is_set():
        raise ToolError(f"{argv[0]} was interrupted")
    finished = Finished(argv, process.returncode, stdout, stderr)
    if check and finished.returncode != 0:
        check_room(finished)
        raise ToolError(f"{shlex.join(argv)} failed with status {finished.returncode}: {finished.last_words}")
    return finished


def check_room(finished: Finished) -> None:
    """Makes sure that a program of this machine did not fail for want of room on a disk.

    Raises:
        StorageError: It did, as its last words say.
    """
    lines = (finished.stderr + b"\n" + finished.stdout).decode(errors="replace").splitlines()
    said = next((line.strip() for line in reversed(lines) if any(words in line for words in _NO_ROOM)), None)
    if finished.returncode == 0 or said is None:
        return
    raise StorageError(
        f"{os.path.basename(finished.args[0])} found no room on a disk: {said[-_LAST_WORDS:]}; free some space where "  # noqa: PTH119 - a name
        f"it writes and in {tempfile.gettempdir()}, or set TMPDIR to a folder with room"
    )


class _FloodError(Exception):
    """A program printed more than it may."""


def _communicate(process: subprocess.Popen[bytes], data: bytes, until_s: float, most_bytes: int) -> tuple[bytes, bytes]:
    """Feeds a program, reads its output until both pipes end, and waits for its end.

    Unlike `Popen.communicate` it reads no more than `most_bytes`.

    Raises:
        TimeoutError: It is not at its end at `until_s`.
        _FloodError: It prints more.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    read = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as pipes:
        for descriptor in read:
            pipes.register(descriptor, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            pipes.register(process.stdin, selectors.EVENT_WRITE, memoryview(data))
        while pipes.get_map():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            for key, _ in pipes.select(left_s):
                if key.fd not in read:
                    _feed(pipes, process, key.data)
                    continue
                part = os.read(key.fd, _PART_BYTES)
                read[key.fd] += part
                if not part:
                    pipes.unregister(key.fd)
            if sum(map(len, read.values())) > most_bytes:
                raise _FloodError
    try:
        process.wait(max(0.0, until_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    stdout, stderr = map(bytes, read.values())
    process.stdout.close()
    process.stderr.close()
    return stdout, stderr


def _feed(pipes: selectors.BaseSelector, process: subprocess.Popen[bytes], left: memoryview) -> None:
    """Writes the next part of a program's input, and closes it after the last one."""
    assert process.stdin is not None
    try:
        left = left[os.write(process.stdin.fileno(), left[:_PART_BYTES]) :]
    except BrokenPipeError:
        # A program that reads no more says why by its status.
        left = left[:0]
    if left:
        pipes.modify(process.stdin, selectors.EVENT_WRITE, left)
        return
    pipes.unregister(process.stdin)
    process.stdin.close()


@contextlib.contextmanager
def _ending(process: subprocess.Popen[bytes], stop: threading.Event | None) -> Iterator[None]:
    """Ends a process that the block waits for when `stop` is set."""
    if stop is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(_GLANCE_S) and process.returncode is None:
                end(process)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def start(
    args: Sequence[str | Path],
    *,
    stdin: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts a program in a process group of its own, to talk to through pipes.

    Who starts it ends it with `kill`, whatever happens; the wait for an answer is the caller's to limit.

    Args:
        args: Program and arguments; no shell is involved.
        stdin: Whether its standard input is a pipe; otherwise it is empty.
        cwd: Working directory.
        env: Variables on top of this process' own.
        pass_fds: Descriptors that stay open in the program, under the same numbers.

    Raises:
        ToolError: The program is missing or cannot be started.
    """
    argv = tuple(str(arg) for arg in args)
    log.debug("run %s", shlex.join(argv))
    try:
        return subprocess.Popen(  # noqa: S603 - argv lists only, built by this program
            argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment(env),
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except FileNotFoundError as exc:
        raise ToolError(f"{argv[0]} not found; is it installed and on PATH?") from exc
    except OSError as exc:
        raise ToolError(f"{argv[0]} cannot be started: {exc.strerror}") from exc


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a program that is started: this process' own, quiet and in English, and `env` on top."""
    return {**_DEFAULTS, **os.environ, **_ENVIRONMENT, **(env or {})}


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started, and closes its pipes."""
    end(process)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            # Input that was still to be written goes nowhere.
            with contextlib.suppress(OSError):
                stream.close()


def end_gently(processes: Sequence[subprocess.Popen[bytes]], grace_s: float) -> None:
    """Asks processes to end, so that they remove their temporary files, and kills those that do not end in time.

    Args:
        processes: Processes that `start` started.
        grace_s: Time that all of them have together, seconds.
    """
    try:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        for process in processes:
            end(process)


def last_words(process: subprocess.Popen[bytes]) -> str:
    """Returns the end of a process' standard error and ends the process."""
    end(process)
    assert process.stderr is not None
    # Output that its children may still write is not waited for.
    os.set_blocking(process.stderr.fileno(), False)
    with contextlib.suppress(BlockingIOError):
        return os.read(process.stderr.fileno(), _PART_BYTES).decode(errors="replace").strip()[-_LAST_WORDS:]
    return ""


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started; the pipes are for threads that still read them to close."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
