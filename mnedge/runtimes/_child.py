"""A process that runs models of others: what ends the runtime ends this process, and is an error here."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import sys
import tempfile
import time
import weakref
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from mnedge import command
from mnedge.errors import MnedgeError, ToolError, of_kind
from mnedge.runtimes._exchange import LARGEST_MESSAGE, LENGTH, SharedArrays, packed

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    # JSON, which the worker of this same code has written: see `_worker.Worker`.
    Answer = dict[str, Any]

log = logging.getLogger(__name__)
_GLANCE_S = 0.5
# How many times as long a child may wait for its turn on a busy machine.
_BUSY = 4.0
# Importing NumPy and a runtime takes a quarter of a second, and much longer from a cold disk.
_START_S = 60.0
_WORDS_BYTES = 4096
_OF_THE_MODEL = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGTRAP)


_VARIABLES = {"OPENBLAS_NUM_THREADS": "1"}


class DiedError(Exception):
    """The child ended, or was ended because it gave no answer in time.

    Attributes:
        returncode: Negative for a signal; None where it gave no answer.
        words: The end of what it said on standard error.
        blamed: For a model without a file, makes the error from the name of the model's source.
    """

    def __init__(self, returncode: int | None, words: str) -> None:
        super().__init__(returncode, words)
        self.returncode, self.words = returncode, words
        self.blamed: Callable[[str], MnedgeError] | None = None

    def told(self) -> str:
        """Its end, as the verb of a sentence."""
        if self.returncode is None:
            return "gave no answer in time"
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-self.returncode).name}"
        return f"ended with status {self.returncode}"

    @property
    def blames_model(self) -> bool:
        """Returns whether the model is at fault, and not the machine: its memory, or a CPU that lacks instructions."""
        return self.returncode is None or -self.returncode in _OF_THE_MODEL


class Child:
    """A process that answers messages; see `_worker`."""

    def __init__(self) -> None:
        self._file = _memory()
        lifeline, self._lifeline = os.pipe()
        try:
            code = (
                f"import sys; sys.path[:] = {[str(place) for place in sys.path]!r}; from mnedge.runtimes._worker "
                f"import main; main({self._file}, {lifeline})"
            )
            self._process = command.start(
                [sys.executable, "-c", code],
                env=_VARIABLES,
                pass_fds=(self._file, lifeline),
            )
        except BaseException:
            os.close(self._file)
            os.close(self._lifeline)
            raise
        finally:
            os.close(lifeline)
        self.shared = SharedArrays(self._file)
        self._words: deque[bytes] = deque(maxlen=16)
        self._answers = bytearray()
        self._pipes = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            self._pipes.register(pipe, selectors.EVENT_READ)
        self.end = weakref.finalize(self, _end, self._process, self._pipes, self._file, self._lifeline)
        self._ready_for: set[str] = set()
        self._pid = self._process.pid

    def start(self, runtime: str) -> None:
        """Makes sure that the child runs and has imported a runtime: what it takes is no model's doing.

        Raises:
            ToolError: It does not start.
        """
        if runtime not in self._ready_for:
            self._starts(runtime, do="start", runtime=runtime)
            self._ready_for.add(runtime)

    def fork(self, runtime: str) -> None:
        """Lets a fork answer from now on, until `leave`; its memory is that of a child that has loaded no model.

        Its working folder and variables are those of this process now, which may have changed since the child started.

        Raises:
            ToolError: The system starts no process.
        """
        folder = None
        with contextlib.suppress(OSError):  # of a folder that is no more
            folder = str(Path.cwd())
        variables = command.environment(_VARIABLES)
        self._pid = self._starts(runtime, do="fork", folder=folder, variables=variables)["pid"]
        self._words.clear()

    def _starts(self, what: str, **request: object) -> Answer:
        try:
            return self.ask(_START_S, **request)
        except DiedError as exc:
            raise ToolError(
                f"the process for {what} does not start: it {exc.told()}{f': {exc.words}' if exc.words else ''}; "
                f"install {what} again for this Python and CPU"
            ) from exc

    def leave(self) -> None:
        """Sends the fork away."""
        self.ask(_START_S, do="leave")
        self._pid = self._process.pid

    def ask(self, limit_s: float, **request: object) -> Answer:
        """Sends a message and waits for its answer.

        Raises:
            DiedError: The child ended, or gave no answer within `limit_s` (and is ended).
            MnedgeError: Its answer is an error.
        """
        try:
            answer = self._answer(packed(request), limit_s)
        except BaseException:
            # An answer to this would be taken for one to the next message.
            self.end()
            raise
        if "bug" in answer:
            raise RuntimeError(f"in a child process:\n{answer['bug']}")
        if "error" in answer:
            raise of_kind(answer["kind"], answer["error"])
        return answer

    def _answer(self, message: bytes, limit_s: float) -> Answer:
        begun_s = time.monotonic()
        glanced_s, cpu_s = begun_s, 0.0

        def is_late() -> bool:
            # Most answers are there before the first glance: what a process has computed is slow to ask.
            nonlocal glanced_s, cpu_s
            now_s = time.monotonic()
            if now_s < glanced_s + _GLANCE_S:
                return False
            if glanced_s == begun_s:
                cpu_s = self._cpu_s()
            glanced_s = now_s
            # What others take of a busy machine does not count, but a child that waits for nothing has its end too.
            late_s = now_s - begun_s - limit_s
            return late_s >= 0 and (self._cpu_s() - cpu_s >= limit_s or late_s >= _BUSY * limit_s)

        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(message)
            stdin.flush()
        except OSError:
            raise self._died() from None
        head = self._taken(LENGTH.size, is_late)
        length: int = LENGTH.unpack(head)[0]
        if length > LARGEST_MESSAGE:
            raise DiedError(None, "it wrote over its own answers")
        answer: Answer = json.loads(self._taken(length, is_late))
        return answer

    def _taken(self, count: int, is_late: Callable[[], bool]) -> bytes:
        """The next bytes of the answer; what is said on standard error meanwhile is kept, so that it blocks nothing."""
        while len(self._answers) < count:
            ready = self._pipes.select(_GLANCE_S)
            if is_late():
                raise DiedError(None, self._last_words())
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                if key.fileobj is self._process.stderr:
                    log.debug("%s", data[-_WORDS_BYTES:].decode(errors="replace").rstrip())
                    self._words.append(data[-_WORDS_BYTES:])
                    if not data:
                        self._pipes.unregister(key.fileobj)
                elif data:
                    self._answers += data
                else:
                    raise self._died()
        taken = bytes(self._answers[:count])
        del self._answers[:count]
        return taken

    def _cpu_s(self) -> float:
        """Seconds that the child has computed so far; 0 for one that is gone."""
        try:
            times = psutil.Process(self._pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def _died(self) -> DiedError:
        returncode = self._process.wait()
        stderr = self._process.stderr
        assert stderr is not None
        if stderr in (key.fileobj for key in self._pipes.get_map().values()):
            while data := os.read(stderr.fileno(), 1 << 16):
                self._words.append(data[-_WORDS_BYTES:])
        return DiedError(returncode, self._last_words())

    def _last_words(self) -> str:
        return b"".join(self._words).decode(errors="replace").strip()[-1200:]


def _end(process: subprocess.Popen[bytes], pipes: selectors.BaseSelector, file: int, lifeline: int) -> None:
    command.kill(process)
    pipes.close()
    os.close(file)
    os.close(lifeline)


def _memory() -> int:
    """A file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mnedge-arrays")
    descriptor, name = tempfile.mkstemp(prefix="mnedge-arrays-")
    Path(name).unlink()
    return descriptor
