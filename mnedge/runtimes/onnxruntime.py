"""ONNX Runtime on its CPU provider."""

from __future__ import annotations

import os
import platform
import tempfile
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnedge.errors import InputError, ToolError
from mnedge.runtimes._runtime import Runtime, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

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

    def __init__(self, path: Path, threads: int) -> None:
        ort = _module()
        self.version = f"onnxruntime {version('onnxruntime')}{' (x64quantprecision)' if saturates() else ''}"
        self._path = path
        self._session = _open(ort, path, threads)
        given, made = self._session.get_inputs(), self._session.get_outputs()
        self._is_nchw = _is_nchw(given[0])
        self.inputs = tuple(_spec(value, as_nhwc=self._is_nchw) for value in given)
        self.input = self.inputs[0]
        self.outputs = tuple(_spec(value, as_nhwc=self._is_nchw) for value in made)

    @cached_property
    def ops(self) -> int:
        """Number of nodes after ONNX Runtime's own optimization."""
        return 0 if self._path.suffix == ".ort" else len(optimized_nodes(self._path))

    def run(self, image: NDArray[Any], *others: NDArray[Any]) -> list[NDArray[Any]]:
        """Runs one sample, an array an input in file order; returns all outputs in file order."""
        arrays = [self._turned(value, _NHWC_TO_NCHW) for value in (image, *others)]
        feed = {spec.name: value for spec, value in zip(self.inputs, arrays, strict=True)}
        return [self._turned(value, _NCHW_TO_NHWC) for value in self._session.run(None, feed)]

    def _turned(self, value: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
        return value.transpose(order) if self._is_nchw and value.ndim == len(order) else value


def metadata_of(path: Path) -> dict[str, str]:
    """The custom metadata of an .onnx or .ort file.

    Raises:
        ToolError: ONNX Runtime is not installed.
        InputError: It refuses the file.
    """
    return dict(_open(_module(), path, 1).get_modelmeta().custom_metadata_map)


def optimized_nodes(path: Path) -> list[tuple[str, str, bool]]:
    """The nodes that ONNX Runtime executes for a file, after its own optimization for this machine.

    Args:
        path: An .onnx file.

    Returns:
        Op type, node name, and whether the node reads or makes float values, in order of execution.

    Raises:
        ToolError: ONNX Runtime is not installed.
        InputError: It refuses the file.
    """
    import onnx

    ort = _module()
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        _open(ort, path, 1, optimized)
        graph = onnx.load(optimized).graph
    floats = _float_values(graph)
    return [(node.op_type, node.name, not floats.isdisjoint((*node.input, *node.output))) for node in graph.node]


def profile(path: Path, threads: int, runs: int, folder: Path) -> Path:
    """Runs a model on zeros with ONNX Runtime's profiler and returns its JSON file, made in `folder`."""
    import numpy as np

    session = _open(_module(), path, threads, profile_prefix=str(folder / "profile"))
    specs = [_spec(value) for value in session.get_inputs()]
    feed = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs}
    for _ in range(runs):
        session.run(None, feed)
    return Path(session.end_profiling())


def _float_values(graph: Any) -> set[str]:  # noqa: ANN401 - a protobuf message
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
    ort: Any,  # noqa: ANN401 - a module
    path: Path,
    threads: int,
    optimized: Path | None = None,
    profile_prefix: str = "",
) -> Any:  # noqa: ANN401 - a pybind class
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
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        return ort.InferenceSession(str(path), options, providers=list(_PROVIDERS))
    except Exception as exc:
        # Its exceptions share no base but Exception.
        if type(exc).__module__.startswith("onnxruntime"):
            raise InputError(f"onnxruntime {version('onnxruntime')} refuses {path}: {str(exc).strip()}") from exc
        raise


@cache
def saturates() -> bool:
    """Whether this CPU sums two products of uint8 and int8 in 16 bits, which can saturate: x86-64 without VNNI.

    Sessions of mnedge set `PRECISE` there; an app that runs int8 .onnx files on such a CPU has to do the same.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        # Where the system does not tell, precision costs some speed, and its lack costs accuracy.
        return True


def _is_nchw(value: Any) -> bool:  # noqa: ANN401 - a pybind class
    """Whether an input is a picture whose channels come before its rows."""
    shape = value.shape
    return len(shape) == len(_NCHW_TO_NHWC) and shape[1] in _CHANNELS and shape[3] not in _CHANNELS


def _spec(value: Any, *, as_nhwc: bool = False) -> TensorSpec:  # noqa: ANN401 - a pybind class
    element = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(extent if isinstance(extent, int) else 1 for extent in value.shape)
    if as_nhwc and len(shape) == len(_NCHW_TO_NHWC):
        shape = tuple(shape[axis] for axis in _NCHW_TO_NHWC)
    return TensorSpec(value.name, shape, _DTYPES.get(element, element))


def _module() -> Any:  # noqa: ANN401 - a module
    # Since 1.29 it reports names and hashes of models to its maker unless this is set; they are the user's affair.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as exc:
        raise ToolError(f"onnxruntime is not installed or does not load ({exc}); pip install onnxruntime") from exc
    return onnxruntime


def _version() -> str | None:
    try:
        return f"onnxruntime {version('onnxruntime')}"
    except PackageNotFoundError:
        return None


RUNTIME = Runtime(suffix=".onnx", open=OnnxRuntimeSession, version=_version)
