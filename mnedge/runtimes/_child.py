"""Models of others run in a child process: what ends the runtime ends the child, and is an error here.

Each file gets a child of its own. Models that mnedge itself wrote (bytes, not files) share children one after the
other, as hundreds of them are opened while a network is calibrated.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import selectors
import signal
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from mnedge import command
from mnedge.errors import InputError, MnedgeError, ToolError, of_kind
from mnedge.graph.graph import Quantization
from mnedge.runtimes._exchange import LARGEST_MESSAGE, LENGTH, SharedArrays, kinds_of, packed
from mnedge.runtimes._runtime import TensorSpec

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray

    # JSON, which the worker of this same code has written: see `_worker.Worker`.
    Answer = dict[str, Any]

log = logging.getLogger(__name__)
_GLANCE_S = 0.5
# How many times as long a child may wait for its turn on a busy machine.
_BUSY = 4.0
# Importing NumPy and a runtime takes a quarter of a second, and much longer from a cold disk.
_START_S = 60.0
# What a runtime takes to load a file of n MiB is far below this; above it, it hangs.
_LOAD_S = 8.0
_LOAD_S_PER_MIB = 2.0
# A folder of C is compiled first.
_COMPILE_S = 600.0
# The longest that one picture may take.
_RUN_S = 120.0
_MOST_IDLE = 8
# A GiB of float32: more is no input or output of an edge device.
_MOST_VALUES = 1 << 28
_DTYPES = ("float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
           "uint64")  # fmt: skip
_WORDS_BYTES = 4096
# What runtimes say of themselves, and of no model.
_NO_NEWS = ("INFO:", "WARNING: All log messages before")
_OF_THE_MODEL = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGTRAP)


class DiedError(Exception):
    """The child ended, or was ended because it gave no answer in time.

    Attributes:
        returncode: Negative for a signal; None where it gave no answer.
        words: The end of what it said on standard error.
        blamed: Where it ran a model that has no file: the error, given the name of what the model comes from.
    """

    def __init__(self, returncode: int | None, words: str) -> None:
        super().__init__(returncode, words)
        self.returncode, self.words = returncode, words
        self.blamed: Callable[[str], MnedgeError] | None = None

    def told(self) -> str:
        """How it ended, as the verb of a sentence."""
        if self.returncode is None:
            return "gave no answer in time"
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-self.returncode).name}"
        return f"ended with status {self.returncode}"

    @property
    def blames_model(self) -> bool:
        """Whether it is the model's doing, and not the machine's: its memory, or a CPU that lacks instructions."""
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
                env={"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"},
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
        self._ready_for = ""

    def start(self, runtime: str) -> None:
        """Makes sure that the child runs and has imported a runtime: what it takes is no model's doing.

        Raises:
            ToolError: It does not start.
        """
        if self._ready_for == runtime:
            return
        try:
            self.ask(_START_S, do="start", runtime=runtime)
        except DiedError as exc:
            raise ToolError(
                f"the process for {runtime} does not start: it {exc.told()}{f': {exc.words}' if exc.words else ''}; "
                f"install {runtime} again for this Python and CPU"
            ) from exc
        self._ready_for = runtime

    def ask(self, limit_s: float, **request: object) -> Answer:
        """Sends a message and waits for its answer.

        Raises:
            DiedError: The child ended, or gave no answer within `limit_s` (and is ended).
            MnedgeError: What it answered is an error.
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
        until_s, cpu_s = time.monotonic() + limit_s, self._cpu_s()

        def is_late() -> bool:
            # What others take of a busy machine does not count, but a child that waits for nothing has its end too.
            late_s = time.monotonic() - until_s
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
            times = psutil.Process(self._process.pid).cpu_times()
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


_IDLE: list[Child] = []
_IDLE_LOCK = threading.Lock()


def _idle() -> Child:
    with _IDLE_LOCK:
        if _IDLE:
            return _IDLE.pop()
    return Child()


class ChildSession:
    """A model that is loaded in a child process; see `Session`."""

    def __init__(self, runtime: str, model: Path | bytes, threads: int, options: dict[str, object]) -> None:
        self._runtime, self._model, self._threads, self._options = runtime, model, threads, options
        self._child = _idle() if isinstance(model, bytes) else Child()
        size = len(model) if isinstance(model, bytes) else _size(model)
        limit_s = _LOAD_S + _LOAD_S_PER_MIB * size / (1 << 20)
        if isinstance(model, Path) and model.is_dir():
            limit_s = _COMPILE_S
        try:
            told = self._load(self._child, model, limit_s)
        except DiedError as exc:
            raise self._blame(exc, "loaded", limit_s) from exc
        except MnedgeError:
            self._child.end()
            raise
        self.version: str = told["version"]
        self.partitions: int | None = told["partitions"]
        self.undelegated: tuple[str, ...] = tuple(told["undelegated"])
        self.inputs, self.outputs = (tuple(_spec(row) for row in told[end]) for end in ("inputs", "outputs"))
        try:
            _check_ends(self.inputs, self.outputs, self._name)
        except InputError:
            self._child.end()
            raise
        self.input = self.inputs[0]

    @property
    def ops(self) -> int:
        """Number of ops or nodes that run after the runtime's own rewriting."""
        return int(self._asked(_RUN_S, "counted its ops of", (), do="ops")["ops"])

    def run(self, *images: AnyArray) -> list[AnyArray]:
        """Runs images of the inputs' shapes and dtypes, in file order; returns copies of all outputs, in file order."""
        return [output.copy() for output in self.look(*images)]

    def look(self, *images: AnyArray) -> list[AnyArray]:
        """Like `run`, but the outputs are views that the next run writes over."""
        return self._asked_for_arrays(_RUN_S, images, do="run")

    def run_all(self, samples: Sequence[tuple[AnyArray, ...]]) -> list[list[AnyArray]]:
        """Runs samples, an array an input in file order, one by one in one message: what `run` gives of each."""
        arrays = tuple(array for sample in samples for array in sample)
        outputs = self._asked_for_arrays(_RUN_S * len(samples), arrays, do="run", times=len(samples))
        width = len(outputs) // len(samples)
        return [[output.copy() for output in outputs[place : place + width]] for place in range(0, len(outputs), width)]

    def time_ms(self, *images: AnyArray, runs: int, seconds: float = 0.0, copies: bool = True) -> NDArray[np.float64]:
        """Times runs in the child, milliseconds each; see `Session`."""
        limit_s = _RUN_S * max(1, runs) + seconds
        samples = self._asked_for_arrays(limit_s, images, do="time", runs=runs, seconds=seconds, copies=copies)[0]
        return np.array(samples, np.float64)

    def close(self) -> None:
        """Ends the child, or keeps it for the next model of mnedge's own."""
        if isinstance(self._model, bytes) and self._child.end.alive:
            with _IDLE_LOCK:
                if len(_IDLE) < _MOST_IDLE:
                    _IDLE.append(self._child)
                    return
        self._child.end()

    @property
    def _name(self) -> str:
        return "the model" if isinstance(self._model, bytes) else str(self._model)

    def _load(self, child: Child, model: Path | bytes, limit_s: float) -> Answer:
        size = None
        child.start(self._runtime)
        if isinstance(model, bytes):
            size = len(model)
            child.shared.write(0, [np.frombuffer(model, np.uint8)])
        path = "" if isinstance(model, bytes) else str(model)
        request = {"runtime": self._runtime, "path": path, "model_bytes": size, "threads": self._threads}
        return child.ask(limit_s, do="open", options=self._options, **request)

    def _asked_for_arrays(self, limit_s: float, images: tuple[AnyArray, ...], **request: object) -> list[AnyArray]:
        end = self._child.shared.write(0, images)
        answer = self._asked(limit_s, "ran", images, inputs=kinds_of(images), **request)
        return self._child.shared.read(end, answer["outputs"])[0]

    def _asked(self, limit_s: float, stage: str, images: tuple[AnyArray, ...], **request: object) -> Answer:
        try:
            return self._child.ask(limit_s, **request)
        except DiedError as exc:
            raise self._blame(exc, stage, limit_s, images) from exc

    def _blame(
        self, died: DiedError, stage: str, limit_s: float, images: tuple[AnyArray, ...] | None = None
    ) -> MnedgeError:
        """The error that names the file, how the child ended, and the op that did it."""
        op = None
        if died.returncode is not None and died.blames_model:
            op = _killing_op(self, images)

        def blamed(name: str) -> MnedgeError:
            return blame(died, self._runtime, f"{stage} {name}", limit_s, op)

        died.blamed = blamed if isinstance(self._model, bytes) else None
        return blamed(self._name)


@contextlib.contextmanager
def naming(source: Path | str) -> Iterator[None]:
    """Names what models without a file come from, in the error for one that ends its runtime."""
    try:
        yield
    except MnedgeError as exc:
        died = exc.__cause__
        if not isinstance(died, DiedError) or died.blamed is None:
            raise
        raise died.blamed(f"what was made of {source}") from died


def open_session(runtime: str, model: Path | bytes, threads: int, **options: object) -> ChildSession:
    """Loads a model in a child process.

    Args:
        runtime: Name of the runtime.
        model: A file; or the bytes of a model that mnedge wrote.
        threads: Threads of the runtime.
        options: Further arguments of the runtime's own `open`.

    Raises:
        ToolError: The engine is missing, or was ended for want of memory or by an instruction that the CPU lacks.
        InputError: It refuses the file, or the file ends it; the message names the signal and the op.
    """
    return ChildSession(runtime, model, threads, options)


def call(module: str, function: str, path: Path, *arguments: object) -> Any:  # noqa: ANN401 - JSON values
    """Calls a function of `mnedge.runtimes.MODULE` in a child process, with a model file as its first argument.

    Args:
        module: The file that has it.
        function: Its name.
        path: The model.
        arguments: Further arguments, JSON values.

    Returns:
        What it returns, as JSON values.

    Raises:
        MnedgeError: The function's own, and as in `open_session`.
    """
    limit_s = _RUN_S + _LOAD_S_PER_MIB * _size(path) / (1 << 20)
    child = Child()
    try:
        child.start(module)
        return child.ask(limit_s, do="call", module=module, function=function, arguments=[str(path), *arguments])[
            "value"
        ]
    except DiedError as exc:
        raise blame(exc, module, f"loaded {path}", limit_s, None) from exc
    finally:
        child.end()


def blame(died: DiedError, runtime: str, work: str, limit_s: float, op: str | None) -> MnedgeError:
    """The error for a child that ended at its work."""
    said = [line for line in died.words.splitlines() if line.strip() and not line.startswith(_NO_NEWS)]
    last = f": {said[-1].strip()[:300]}" if said else ""
    if died.returncode is None:
        return InputError(
            f"{runtime} gave no answer within {limit_s:.0f} s while it {work}, and was ended; the file is damaged, or "
            "too large for this machine"
        )
    if died.blames_model:
        place = f" at {op}" if op else ""
        return InputError(
            f"{runtime} {died.told()} while it {work}{place}{last}; the file is damaged, or that runtime has a fault: "
            "convert it again, or try another version of the runtime"
        )
    advice = "stop other programs, or take a smaller model" if died.returncode == -signal.SIGKILL else (
        "reinstall it for this CPU" if died.returncode == -signal.SIGILL else "try again, or reinstall it"
    )  # fmt: skip
    return ToolError(f"{runtime} {died.told()} while it {work}{last}; {advice}")


def _killing_op(session: ChildSession, images: tuple[AnyArray, ...] | None) -> str | None:
    """The first op with which the model ends its runtime, found by prefixes of the graph; None where none shows."""
    model = session._model  # noqa: SLF001 - of this file
    suffix = ".tflite" if isinstance(model, bytes) else model.suffix
    with tempfile.TemporaryDirectory(prefix="mnedge-prefix-") as folder, _one_child() as cutter:
        whole, prefix = Path(folder) / f"whole{suffix}", Path(folder) / f"prefix{suffix}"
        try:
            whole.write_bytes(model if isinstance(model, bytes) else model.read_bytes())

            def cut(count: int) -> str:
                arguments = [str(whole), count, str(prefix)]
                asked = cutter.ask(_RUN_S, do="call", module="_prefix", function="write_prefix", arguments=arguments)
                return str(asked["value"])

            low, high = (
                0,
                cutter.ask(_RUN_S, do="call", module="_prefix", function="count_ops", arguments=[str(whole)])["value"],
            )
            if high == 0:
                return None
            name = cut(high)
            if not _dies(session, prefix, images):
                return None
            while high - low > 1:
                middle = (low + high) // 2
                told = cut(middle)
                if _dies(session, prefix, images):
                    high, name = middle, told
                else:
                    low = middle
        except (DiedError, MnedgeError, RuntimeError, OSError):
            # The search is for the message only: a file that cannot be cut is still the file that ended the runtime.
            return None
        return name


def _dies(session: ChildSession, path: Path, images: tuple[AnyArray, ...] | None) -> bool:
    """Whether a prefix of the model ends its runtime, when it is loaded or, with images, run."""
    with _one_child() as child:
        try:
            session._load(child, path, _RUN_S)  # noqa: SLF001 - of this file
            if images is not None:
                child.shared.write(0, images)
                child.ask(_RUN_S, do="run", inputs=kinds_of(images))
        except DiedError:
            return True
        except (MnedgeError, RuntimeError):
            return False
    return False


@contextlib.contextmanager
def _one_child() -> Iterator[Child]:
    child = Child()
    try:
        yield child
    finally:
        child.end()


def _spec(row: Answer) -> TensorSpec:
    quantization = None
    if row["scale"] is not None:
        quantization = Quantization.per_tensor(row["scale"], row["zero_point"])
    return TensorSpec(row["name"], tuple(row["shape"]), row["dtype"], quantization)


def _check_ends(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], name: str) -> None:
    """Makes sure that what goes in and comes out are arrays that this machine can make."""
    if not inputs:
        raise InputError(f"{name} has no input; a model with at least one is run")
    for what, least, specs in (("input", 1, inputs), ("output", 0, outputs)):
        for spec in specs:
            shape = " x ".join(map(str, spec.shape))
            if spec.dtype not in _DTYPES:
                raise InputError(f"{what} {spec.name} of {name} is {spec.dtype}; {', '.join(_DTYPES)} are run")
            if min(spec.shape, default=1) < least or math.prod(spec.shape) > _MOST_VALUES:
                raise InputError(
                    f"{what} {spec.name} of {name} is {shape}; extents of at least {least} and at most "
                    f"{_MOST_VALUES:,} values are run"
                )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
