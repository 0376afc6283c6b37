"""Sessions of models that are loaded in a child process.

Each file gets a process of its own, the fork of a child that has loaded no model. Models that mnedge itself wrote
(bytes, not files) share children one after the other, as hundreds of them are opened while a network is calibrated.
"""

from __future__ import annotations

import contextlib
import math
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.errors import InputError, MnedgeError, ToolError
from mnedge.graph.graph import Quantization
from mnedge.runtimes._child import Child, DiedError
from mnedge.runtimes._exchange import kinds_of
from mnedge.runtimes._runtime import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mnedge.runtimes._child import Answer
    from mnedge.untyped import AnyArray

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
# What runtimes say of themselves, and of no model.
_NO_NEWS = ("INFO:", "WARNING: All log messages before")
# Children that wait for the next model: those that load it themselves, and those that fork for it.
_IDLE: list[Child] = []
_IDLE_TO_FORK: list[Child] = []
_IDLE_LOCK = threading.Lock()


def _taken(idle: list[Child]) -> Child:
    with _IDLE_LOCK:
        if idle:
            return idle.pop()
    return Child()


def _given_back(child: Child, idle: list[Child]) -> None:
    """Keeps a child for the next model; ends it where enough wait."""
    with _IDLE_LOCK:
        if child.end.alive and len(idle) < _MOST_IDLE:
            idle.append(child)
            return
    child.end()


def _forked(runtime: str) -> Child:
    """A child that has imported the runtime, whose fork answers."""
    child = _taken(_IDLE_TO_FORK)
    child.start(runtime)
    child.fork(runtime)
    return child


def _left(child: Child) -> None:
    """Sends the fork away, and keeps its child."""
    if child.end.alive:
        with contextlib.suppress(DiedError):
            child.leave()
    _given_back(child, _IDLE_TO_FORK)


class ChildSession:
    """A model that is loaded in a child process; see `Session`."""

    def __init__(self, runtime: str, model: Path | bytes, threads: int, options: dict[str, object]) -> None:
        self._runtime, self._model, self._threads, self._options = runtime, model, threads, options
        self._child = _taken(_IDLE) if isinstance(model, bytes) else _forked(runtime)
        size = len(model) if isinstance(model, bytes) else _size(model)
        limit_s = _LOAD_S + _LOAD_S_PER_MIB * size / (1 << 20)
        if isinstance(model, Path) and model.is_dir():
            limit_s = _COMPILE_S
        try:
            told = self._load(self._child, model, limit_s)
        except DiedError as exc:
            raise self._blame(exc, "loaded", limit_s) from exc
        except MnedgeError:
            self.close()
            raise
        self.version: str = told["version"]
        self.partitions: int | None = told["partitions"]
        self.undelegated: tuple[str, ...] = tuple(told["undelegated"])
        self.inputs, self.outputs = (tuple(_spec(row) for row in told[end]) for end in ("inputs", "outputs"))
        try:
            _check_ends(self.inputs, self.outputs, self._name)
        except InputError:
            self.close()
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
        """Runs images like `run`, but the outputs are views that the next run writes over."""
        return self._asked_for_arrays(_RUN_S, images, do="run")

    def run_all(self, samples: Sequence[tuple[AnyArray, ...]]) -> list[list[AnyArray]]:
        """Runs samples, an array an input in file order, one by one in one message: what `run` gives of each."""
        return [[output.copy() for output in outputs] for outputs in self.look_all(samples)]

    def look_all(self, samples: Sequence[tuple[AnyArray, ...]]) -> list[list[AnyArray]]:
        """Runs samples like `run_all`, but the outputs are views that the next run writes over."""
        arrays = tuple(array for sample in samples for array in sample)
        outputs = self._asked_for_arrays(_RUN_S * len(samples), arrays, do="run", times=len(samples))
        width = len(outputs) // len(samples)
        return [outputs[place : place + width] for place in range(0, len(outputs), width)]

    def time_ms(self, *images: AnyArray, runs: int, seconds: float = 0.0, copies: bool = True) -> NDArray[np.float64]:
        """Times runs in the child, milliseconds each; see `Session`."""
        limit_s = _RUN_S * max(1, runs) + seconds
        samples = self._asked_for_arrays(limit_s, images, do="time", runs=runs, seconds=seconds, copies=copies)[0]
        return np.array(samples, np.float64)

    def close(self) -> None:
        """Gives the child back for the next model."""
        if isinstance(self._model, bytes):
            _given_back(self._child, _IDLE)
        else:
            _left(self._child)

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
    with _fork(module) as child:
        try:
            return child.ask(limit_s, do="call", module=module, function=function, arguments=[str(path), *arguments])[
                "value"
            ]
        except DiedError as exc:
            raise blame(exc, module, f"loaded {path}", limit_s, None) from exc


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
    model, runtime = session._model, session._runtime  # noqa: SLF001 - of this file
    suffix = ".tflite" if isinstance(model, bytes) else model.suffix
    with tempfile.TemporaryDirectory(prefix="mnedge-prefix-") as folder, _fork(runtime) as cutter:
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
    """Returns whether a prefix of the model ends its runtime, when it is loaded or, with images, run."""
    with _fork(session._runtime) as child:  # noqa: SLF001 - of this file
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
def _fork(runtime: str) -> Iterator[Child]:
    child = _forked(runtime)
    try:
        yield child
    finally:
        _left(child)


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
