"""The child process that runs models of others: it starts with NumPy and one runtime, nothing else.

Messages in over standard input, out over what was standard output; arrays through a file that both sides map. A file
of others is loaded by a fork of the process, which answers in its place until the parent has done with that file: so
each file meets memory that no other file has touched, and the imports are paid once.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mnedge import registry
from mnedge.errors import MnedgeError, ToolError, UnsupportedError, kind_of
from mnedge.runtimes._exchange import LENGTH, SharedArrays, kinds_of, packed, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.runtimes._exchange import Kind
    from mnedge.runtimes._runtime import Session
    from mnedge.untyped import AnyArray


# Exit status of a fork that the parent sent away, which no runtime gives.
_LEFT = 97


class _Worker:
    def __init__(self, source: BinaryIO, sink: BinaryIO, shared: SharedArrays) -> None:
        self.source, self.sink, self.shared = source, sink, shared
        self.session: Session | None = None

    def serve(self) -> None:
        """Answers messages until the input ends."""
        while header := self.source.read(LENGTH.size):
            request = json.loads(self.source.read(LENGTH.unpack(header)[0]))
            if request["do"] == "leave":
                os._exit(_LEFT)
            if request["do"] == "fork":
                self.say(self.fork(request["folder"], request["variables"]))
            else:
                self.say(self.answer(request))

    def say(self, answer: dict[str, object]) -> None:
        """Sends an answer."""
        self.sink.write(packed(answer))
        self.sink.flush()

    def fork(self, folder: str | None, variables: dict[str, str]) -> dict[str, object]:
        """Lets a fork serve until it is sent away, and ends as the fork ends where that is of itself.

        Args:
            folder: Working folder of the fork; None leaves it.
            variables: All its environment variables.
        """
        pid = os.fork()
        if pid == 0:
            if folder is not None:
                os.chdir(folder)
            os.environ.clear()
            os.environ.update(variables)
            tempfile.tempdir = None
            return {"pid": os.getpid()}
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == _LEFT:
            return {}
        if code < 0:
            with suppress(OSError):  # of SIGKILL, which needs none
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)

    def answer(self, request: dict[str, object]) -> dict[str, object]:
        """Answers a message with its result, or with the error that it ended in."""
        answers: dict[str, Callable[..., dict[str, object]]] = {
            "start": _start,
            "open": self.open,
            "run": self.run,
            "time": self.time,
            "ops": self.ops,
            "call": _call,
        }
        try:
            return answers[str(request.pop("do"))](**request)
        except MnedgeError as exc:
            return {"kind": kind_of(exc), "error": str(exc)}
        except MemoryError:
            return {"kind": ToolError.__name__, "error": "out of memory"}
        except Exception:  # noqa: BLE001 - a bug, which the parent tells
            return {"bug": traceback.format_exc()}

    def open(
        self, runtime: str, path: str, model_bytes: int | None, threads: int, options: dict[str, object]
    ) -> dict[str, object]:
        """Loads a model, a file or the first bytes of the shared memory."""
        self.session = None
        model: Path | bytes = Path(path)
        if model_bytes is not None:
            model = self.shared.read(0, [["uint8", [model_bytes]]])[0][0].tobytes()
        engine = registry.load("mnedge.runtimes", runtime, "RUNTIME")
        session: Session = engine.open(model, threads, **options)
        self.session = session
        return {
            "version": session.version,
            "partitions": session.partitions,
            "undelegated": list(session.undelegated),
            "inputs": [told(spec) for spec in session.inputs],
            "outputs": [told(spec) for spec in session.outputs],
        }

    def run(self, inputs: list[Kind], times: int = 1) -> dict[str, object]:
        """Runs the inputs that stand in the shared memory, those of so many runs; the outputs stand behind them."""
        assert self.session is not None
        feeds, end = self.shared.read(0, inputs)
        width = len(feeds) // times
        kinds: list[list[object]] = []
        for place in range(0, len(feeds), width):
            outputs = [_plain(output) for output in self.session.look(*feeds[place : place + width])]
            end = self.shared.write(end, outputs)
            kinds += kinds_of(outputs)
            # The runtime may run again only when no view of its memory is left.
            del outputs
        return {"outputs": kinds}

    def time(self, inputs: list[Kind], runs: int, seconds: float, copies: bool) -> dict[str, object]:
        """Times runs on the inputs; the milliseconds stand behind them."""
        assert self.session is not None
        feed, end = self.shared.read(0, inputs)
        samples = self.session.time_ms(*(image.copy() for image in feed), runs=runs, seconds=seconds, copies=copies)
        self.shared.write(end, [samples])
        return {"outputs": kinds_of([samples])}

    def ops(self) -> dict[str, object]:
        """Counts what runs after the runtime's own rewriting."""
        assert self.session is not None
        return {"ops": self.session.ops}


def _start(runtime: str) -> dict[str, object]:
    """Imports a runtime; where that fails, `open` says it."""
    module = registry.load("mnedge.runtimes", runtime, "RUNTIME").module
    with suppress(ImportError, AttributeError):
        if module:
            import_module(module)
    return {}


def _call(module: str, function: str, arguments: list[object]) -> dict[str, object]:
    """Calls a function of this package's runtimes."""
    return {"value": getattr(import_module(f"mnedge.runtimes.{module}"), function)(*arguments)}


def _plain(output: object) -> AnyArray:
    array: AnyArray = np.asarray(output)
    if array.dtype.hasobject or array.dtype.kind in "SU":
        raise UnsupportedError("an output holds text, or a sequence; tensors of numbers are read")
    return array


def main(shared: int, lifeline: int) -> None:
    """Serves the parent at the other end of standard input until it closes that, or is no more.

    Args:
        shared: Descriptor of the file for arrays.
        lifeline: Descriptor of a pipe that ends with the parent.
    """
    # The kernel sends SIGIO when the last writer of that pipe is gone, which ends this process, and what it forked,
    # whatever they are doing.
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    # Ctrl-C and SIGTERM are the parent's to answer; a crash leaves no core file behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What a runtime says on its way to an abort is its last words: nothing of it is dropped here.
    logging.getLogger().setLevel(logging.INFO)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _Worker(sys.stdin.buffer, sink, SharedArrays(shared)).serve()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the runtime may still spin, and nobody waits for them.
    os._exit(0)
