"""LiteRT, the package ai-edge-litert; tflite-runtime, its predecessor, shares the session."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from mnedge.errors import InputError, ToolError
from mnedge.graph.graph import Quantization
from mnedge.runtimes._runtime import Runtime, TensorSpec, path_or_bytes, timed_ms
from mnedge.silence import native_stderr

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from mnedge.untyped import AnyArray

_DELEGATES = ("DELEGATE", "TfLiteXNNPackDelegate")


@dataclass(frozen=True)
class Package:
    """A Python package that brings an interpreter.

    Attributes:
        name: As pip knows it; the name stands in every figure.
        module: The module with the class Interpreter.
        get: Command that installs it.
    """

    name: str
    module: str
    get: str

    def load(self) -> tuple[str, ModuleType]:
        """The installed version and the module.

        Raises:
            ToolError: The package is missing or does not load.
        """
        try:
            return version(self.name), import_module(self.module)
        except PackageNotFoundError:
            raise ToolError(f"{self.name} is not installed; {self.get}") from None
        except (ImportError, AttributeError) as exc:
            # tflite-runtime was built against NumPy 1, and fails with an AttributeError beside NumPy 2.
            raise ToolError(f"{self.name} does not load ({exc}); {self.get}") from exc

    def version(self) -> str | None:
        """Name and version, or None where it is missing."""
        try:
            return f"{self.name} {self.load()[0]}"
        except ToolError:
            return None


LITERT = Package("ai-edge-litert", "ai_edge_litert.interpreter", "pip install ai-edge-litert")


class LiteRtSession:
    """A model, a file or its bytes, in LiteRT's interpreter with its default delegate (XNNPACK)."""

    def __init__(self, model: Path | bytes, threads: int, *, delegate: bool = True, package: Package = LITERT) -> None:
        installed, module = package.load()
        given = model if isinstance(model, bytes) else path_or_bytes(model)
        options: dict[str, object] = {"model_content" if isinstance(given, bytes) else "model_path": given}
        if not delegate:
            options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        name = "the model" if isinstance(model, bytes) else str(model)
        try:
            with native_stderr():
                interpreter = module.Interpreter(num_threads=threads, **options)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            raise InputError(f"{package.name} {installed} refuses {name}: {_on_one_line(exc)}") from exc
        self._interpreter = interpreter
        self._name = name
        try:
            details = interpreter._get_ops_details()  # noqa: SLF001 - the only place that tells what was delegated
        except UnicodeDecodeError as exc:
            raise InputError(f"{package.name} {installed} refuses {name}: a tensor's name is not UTF-8 text") from exc
        partitions = sum(detail["op_name"] in _DELEGATES for detail in details)
        self.partitions: int | None = partitions
        self.undelegated = _undelegated(details)
        self.version = f"{package.name} {installed} ({'XNNPACK' if partitions else 'no delegate'})"
        self.ops = partitions + len(self.undelegated)
        self.inputs = tuple(_spec(detail) for detail in interpreter.get_input_details())
        self.input = self.inputs[0]
        self.outputs = tuple(_spec(detail) for detail in interpreter.get_output_details())
        self._input_indices = [detail["index"] for detail in interpreter.get_input_details()]
        self._output_indices = [detail["index"] for detail in interpreter.get_output_details()]

    def run(self, *images: AnyArray) -> list[AnyArray]:
        """Runs images of the inputs' shapes and dtypes, in file order; returns copies of all outputs, in file order."""
        self._invoke(*images)
        return [self._interpreter.get_tensor(index) for index in self._output_indices]

    def look(self, *images: AnyArray) -> list[AnyArray]:
        """Runs images like `run`, but the outputs are views: the session runs again only after they are gone."""
        self._invoke(*images)
        return [self._interpreter.tensor(index)() for index in self._output_indices]

    def time_ms(self, *images: AnyArray, runs: int, seconds: float = 0.0, copies: bool = True) -> NDArray[np.float64]:
        """Times runs, milliseconds each; see `Session`."""
        if copies:
            return timed_ms(lambda: self.run(*images), runs, seconds)
        self._invoke(*images)
        return timed_ms(self._compute, runs, seconds)

    def _invoke(self, *images: AnyArray) -> None:
        for index, value in zip(self._input_indices, images, strict=True):
            self._interpreter.set_tensor(index, value)
        self._compute()

    def _compute(self) -> None:
        try:
            self._interpreter.invoke()
        except RuntimeError as exc:
            raise InputError(f"{self.version} cannot run {self._name}: {_on_one_line(exc)}") from exc


def _on_one_line(exc: Exception) -> str:
    return "; ".join(line.strip() for line in str(exc).splitlines() if line.strip())


class _Op(TypedDict):
    """An op as LiteRT lists it, with the numbers of its tensors."""

    op_name: str
    inputs: Iterable[int]
    outputs: Iterable[int]


class _Steps(TypedDict):
    """Scales and zero points of a tensor; both are empty where it holds real values."""

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int32]


class _Detail(TypedDict):
    """An input or output as LiteRT tells it."""

    name: str
    shape: NDArray[np.int32]
    dtype: type[np.generic]
    quantization_parameters: _Steps


def _undelegated(details: list[_Op]) -> tuple[str, ...]:
    """The ops that still run one by one.

    LiteRT lists delegated ops beside the delegates and does not say whose they are: an op is inside a partition
    where it lies between the partition's inputs and outputs.
    """
    ops = [detail for detail in details if detail["op_name"] not in _DELEGATES]
    maker = {int(tensor): place for place, op in enumerate(ops) for tensor in op["outputs"]}
    inside: set[int] = set()
    for partition in details:
        if partition["op_name"] not in _DELEGATES:
            continue
        ends = {int(tensor) for tensor in partition["inputs"]}
        wanted = [int(tensor) for tensor in partition["outputs"]]
        while wanted:
            tensor = wanted.pop()
            place = maker.get(tensor)
            if tensor not in ends and place is not None and place not in inside:
                inside.add(place)
                wanted += [int(name) for name in ops[place]["inputs"]]
    return tuple(op["op_name"] for place, op in enumerate(ops) if place not in inside)


def _spec(detail: _Detail) -> TensorSpec:
    scales = detail["quantization_parameters"]["scales"]
    zero_points = detail["quantization_parameters"]["zero_points"]
    quantization = Quantization.per_tensor(float(scales[0]), int(zero_points[0])) if len(scales) else None
    return TensorSpec(detail["name"], tuple(detail["shape"].tolist()), np.dtype(detail["dtype"]).name, quantization)


RUNTIME = Runtime(suffix=".tflite", open=LiteRtSession, version=LITERT.version, module=LITERT.module)
