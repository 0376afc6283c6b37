"""LiteRT, the package ai-edge-litert; tflite-runtime, its predecessor, shares the session."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.errors import InputError, ToolError
from mnedge.graph.graph import Quantization
from mnedge.runtimes._runtime import Runtime, TensorSpec
from mnedge.silence import native_stderr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_DELEGATES = ("DELEGATE", "TfLiteXNNPackDelegate")


@dataclass(frozen=True)
class Package:
    """A Python package that brings an interpreter.

    Attributes:
        name: As pip knows it; the name stands in every figure.
        module: The module with the class Interpreter.
        get: How to install it.
    """

    name: str
    module: str
    get: str

    def load(self) -> tuple[str, Any]:
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
    """A model, a file or its bytes, in LiteRT's interpreter with its default delegate (XNNPACK).

    Attributes:
        inputs: All inputs, in file order.
        undelegated: Kinds of the ops that no delegate took, in order of execution.
    """

    def __init__(self, model: Path | bytes, threads: int, *, delegate: bool = True, package: Package = LITERT) -> None:
        installed, module = package.load()
        options: dict[str, Any] = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        if not delegate:
            options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            with native_stderr():
                interpreter = module.Interpreter(num_threads=threads, **options)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            name = "the model" if isinstance(model, bytes) else model
            raise InputError(f"{package.name} {installed} refuses {name}: {str(exc).strip()}") from exc
        self._interpreter = interpreter
        details = interpreter._get_ops_details()  # noqa: SLF001 - the only place that tells what was delegated
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

    def run(self, image: NDArray[Any], *others: NDArray[Any]) -> list[NDArray[Any]]:
        """Runs one sample, an array an input in file order; returns copies of all outputs in file order."""
        self._invoke(image, *others)
        return [self._interpreter.get_tensor(index) for index in self._output_indices]

    def look(self, image: NDArray[Any], *others: NDArray[Any]) -> list[NDArray[Any]]:
        """Like `run`, but the outputs are views: the session runs again only after they are gone."""
        self._invoke(image, *others)
        return [self._interpreter.tensor(index)() for index in self._output_indices]

    def _invoke(self, *images: NDArray[Any]) -> None:
        for index, value in zip(self._input_indices, images, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()

    def invoke_ms(self) -> float:
        """Computes once more on the last input and returns the milliseconds that it took, copies left out."""
        begin = time.perf_counter_ns()
        self._interpreter.invoke()
        return (time.perf_counter_ns() - begin) / 1e6


def _undelegated(details: list[dict[str, Any]]) -> tuple[str, ...]:
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


def _spec(detail: dict[str, Any]) -> TensorSpec:
    scales = detail["quantization_parameters"]["scales"]
    zero_points = detail["quantization_parameters"]["zero_points"]
    quantization = Quantization.per_tensor(float(scales[0]), int(zero_points[0])) if len(scales) else None
    return TensorSpec(detail["name"], tuple(detail["shape"].tolist()), np.dtype(detail["dtype"]).name, quantization)


RUNTIME = Runtime(suffix=".tflite", open=LiteRtSession, version=LITERT.version)
