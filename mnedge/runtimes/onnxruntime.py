"""ONNX Runtime on its CPU provider."""

from __future__ import annotations

import os
import platform
import tempfile
from contextlib import contextmanager
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.errors import InputError, MnedgeError, ToolError
from mnedge.foreign import is_file
from mnedge.runtimes._runtime import Runtime, TensorSpec, path_or_bytes, timed_ms
from mnedge.runtimes._session import call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    import numpy as np
    import onnx
    import onnxruntime
    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray

_PROVIDERS = ("CPUExecutionProvider",)
_ERRORS_ONLY = 3
# The session entry that has int8 products summed in 32 bits.
PRECISE = "session.x64quantprecision"
_DTYPES = {"float": "float32", "double": "float64"}
_NHWC_TO_NCHW, _NCHW_TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_CHANNELS = (1, 3, 4)


class OnnxRuntimeSession:
    """A model in ONNX Runtime with all of its graph optimizations.

    Pictures and maps are NHWC, also those of a model of PyTorch's that has them as NCHW.
    """

    partitions: int | None = None
    undelegated: tuple[str, ...] = ()

    def __init__(self, path: Path, threads: int) -> None:
        ort = _module()
        self.version = f"onnxruntime {version('onnxruntime')}{' (x64quantprecision)' if saturates() else ''}"
        self._path = path
        self._session = _open(ort, path, threads)
        with _refusals("refuses", path):
            given, made = self._session.get_inputs(), self._session.get_outputs()
            if not given:
                raise InputError(f"{path} has no input; a model with at least one is run")
            self._is_nchw = _is_nchw(given[0])
            self.inputs = tuple(_spec(value, as_nhwc=self._is_nchw) for value in given)
            self.outputs = tuple(_spec(value, as_nhwc=self._is_nchw) for value in made)
        self.input = self.inputs[0]

    @cached_property
    def ops(self) -> int:
        """Number of nodes after ONNX Runtime's own optimization."""
        return 0 if self._path.suffix == ".ort" else len(nodes_here(str(self._path)))

    def run(self, *images: AnyArray) -> list[AnyArray]:
        """Runs images of the inputs' shapes and dtypes, in file order; returns all outputs, in file order."""
        arrays = [self._turned(image, _NHWC_TO_NCHW) for image in images]
        feed = {spec.name: value for spec, value in zip(self.inputs, arrays, strict=True)}
        with _refusals("cannot run", self._path):
            outputs: list[AnyArray] = self._session.run(None, feed)
        return [self._turned(value, _NCHW_TO_NHWC) for value in outputs]

    def _turned(self, value: AnyArray, order: tuple[int, ...]) -> AnyArray:
        return value.transpose(order) if self._is_nchw and value.ndim == len(order) else value

    look = run

    def time_ms(self, *images: AnyArray, runs: int, seconds: float = 0.0, copies: bool = True) -> NDArray[np.float64]:
        """Times runs, milliseconds each; see `Session`. Copies always count: the runtime makes its outputs anew."""
        del copies
        return timed_ms(lambda: self.run(*images), runs, seconds)


def metadata_of(path: Path) -> dict[str, str]:
    """The custom metadata of an .onnx or .ort file.

    Raises:
        ToolError: ONNX Runtime is not installed.
        InputError: It refuses the file, or the file ends it.
    """
    found: dict[str, str] = call("onnxruntime", metadata_here.__name__, path)
    return found


def optimized_nodes(path: Path) -> list[tuple[str, str, bool]]:
    """The nodes that ONNX Runtime executes for a file, after its own optimization for this machine.

    Args:
        path: An .onnx file.

    Returns:
        Op type, node name, and whether the node reads or makes float values, in order of execution.

    Raises:
        ToolError: ONNX Runtime is not installed.
        InputError: It refuses the file, or the file ends it.
    """
    return [(kind, name, is_float) for kind, name, is_float in call("onnxruntime", nodes_here.__name__, path)]


def profile(path: Path, threads: int, runs: int, folder: Path) -> Path:
    """Runs a model on zeros with ONNX Runtime's profiler and returns its JSON file, made in `folder`.

    Raises:
        ToolError: ONNX Runtime is not installed.
        InputError: It refuses the file, or the file ends it.
    """
    return Path(call("onnxruntime", profile_here.__name__, path, threads, runs, str(folder)))


def metadata_here(path: str) -> dict[str, str]:
    """`metadata_of` in this process."""
    session = _open(_module(), Path(path), 1)
    with _refusals("refuses", Path(path)):
        return dict(session.get_modelmeta().custom_metadata_map)


def nodes_here(path: str) -> list[tuple[str, str, bool]]:
    """`optimized_nodes` in this process."""
    import onnx

    ort = _module()
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        _open(ort, Path(path), 1, optimized)
        with _refusals("wrote nodes that cannot be read of", Path(path)):
            graph = onnx.load(optimized).graph
            floats = _float_values(graph)
            return [
                (node.op_type, node.name, not floats.isdisjoint((*node.input, *node.output))) for node in graph.node
            ]


def profile_here(path: str, threads: int, runs: int, folder: str) -> str:
    """`profile` in this process."""
    import numpy as np

    session = _open(_module(), Path(path), threads, profile_prefix=str(Path(folder) / "profile"))
    with _refusals("cannot run", Path(path)):
        feed = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in map(_spec, session.get_inputs())}
        for _ in range(runs):
            session.run(None, feed)
    return str(session.end_profiling())


def _float_values(graph: onnx.GraphProto) -> set[str]:
    """Names of the float values that nodes make or the caller feeds; scales are constants and do not count."""
    import onnx

    float_types = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    floats = {value.name for value in graph.input if value.type.tensor_type.elem_type in float_types}
    constants = {constant.name: constant.data_type in float_types for constant in graph.initializer}
    for node in graph.node:
        data = next((name for name in node.input if name and name not in constants), "")
        is_float = data in floats or (not data and any(constants.get(name, False) for name in node.input))
        if node.op_type == "DequantizeLinear":
            is_float = True
        elif node.op_type in ("QuantizeLinear", "ArgMax", "Shape") or node.op_type.startswith("QLinear"):
            is_float = False
        if is_float:
            floats.update(node.output)
    return floats


def _open(
    ort: ModuleType,
    path: Path,
    threads: int,
    optimized: Path | None = None,
    profile_prefix: str = "",
) -> onnxruntime.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    if saturates():
        options.add_session_config_entry(PRECISE, "1")
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    if profile_prefix:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    if not is_file(path):
        raise InputError(f"{path} is not a file")
    with _refusals("refuses", path):
        return ort.InferenceSession(path_or_bytes(path), options, providers=list(_PROVIDERS))


@contextmanager
def _refusals(verb: str, path: Path) -> Iterator[None]:
    """What ONNX Runtime says of a model in the block, as an error of the file."""
    try:
        yield
    except (MemoryError, MnedgeError):
        raise
    except Exception as exc:
        # Its exceptions share no base but Exception, and some of its checks raise plain ones of Python.
        words = "; ".join(line.strip() for line in str(exc).splitlines() if line.strip())
        raise InputError(f"onnxruntime {version('onnxruntime')} {verb} {path}: {words}") from exc


@cache
def saturates() -> bool:
    """Returns whether this CPU sums two products of uint8 and int8 in 16 bits, which can saturate: x86-64 without VNNI.

    Sessions of mnedge set `PRECISE` there; an app that runs int8 .onnx files on such a CPU has to do the same.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        # Where the system does not tell, precision costs some speed, and its lack costs accuracy.
        return True


def _is_nchw(value: onnxruntime.NodeArg) -> bool:
    """Whether an input is a picture whose channels come before its rows."""
    shape = value.shape
    return len(shape) == len(_NCHW_TO_NHWC) and shape[1] in _CHANNELS and shape[3] not in _CHANNELS


def _spec(value: onnxruntime.NodeArg, *, as_nhwc: bool = False) -> TensorSpec:
    element = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(extent if isinstance(extent, int) else 1 for extent in value.shape or ())
    if as_nhwc and len(shape) == len(_NCHW_TO_NHWC):
        shape = tuple(shape[axis] for axis in _NCHW_TO_NHWC)
    return TensorSpec(value.name, shape, _DTYPES.get(element, element))


def _module() -> ModuleType:
    # Since 1.29 it reports names and hashes of models to its maker unless this is set; they are the user's affair.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as exc:
        raise ToolError(f"onnxruntime is not installed or does not load ({exc}); pip install onnxruntime") from exc
    module: ModuleType = onnxruntime
    return module


def _version() -> str | None:
    try:
        return f"onnxruntime {version('onnxruntime')}"
    except PackageNotFoundError:
        return None


RUNTIME = Runtime(suffix=".onnx", open=OnnxRuntimeSession, version=_version, module="onnxruntime", also=(".ort",))
