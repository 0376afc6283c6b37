"""A way to write small graphs down, and LiteRT's reference kernels to compare them with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

_CONVOLUTION = {
    "padding": "SAME",
    "stride_h": 1,
    "stride_w": 1,
    "dilation_h_factor": 1,
    "dilation_w_factor": 1,
    "activation": "NONE",
}


class Sketch:
    """Collects tensors and ops, float, or int8 where a tensor is given a scale and zero point."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.generator = np.random.default_rng(7)

    def value(self, name: str, *shape: int, q: tuple[float, int] | None = None, dtype: str = "int8") -> str:
        quantization = None if q is None else Quantization.per_tensor(*q)
        self.tensors[name] = Tensor(name, shape, "float32" if q is None else dtype, quantization)
        return name

    def constant(self, name: str, data: Any, quantization: Quantization | None = None) -> str:
        self.tensors[name] = constant(name, np.asarray(data), quantization)
        return name

    def op(self, kind: str, inputs: tuple[str, ...], output: str, **options: Any) -> str:
        self.ops.append(Op(kind, inputs, (output,), options))
        return output

    def conv(
        self, source: str, output: str, kernel: tuple[int, ...], *, depthwise: bool = False, **options: Any
    ) -> str:
        """A convolution with random weights OHWI (1HWC) and bias, of the dtype of its output."""
        channels = kernel[3] if depthwise else kernel[0]
        axis = 3 if depthwise else 0
        made = self.tensors[output]
        if made.quantization is None:
            weights = self.generator.normal(0, 0.3, kernel).astype(np.float32)
            bias = self.generator.normal(0, 0.3, channels).astype(np.float32)
            names = self.constant(f"{output}/w", weights), self.constant(f"{output}/b", bias)
        else:
            scale = self.generator.uniform(0.003, 0.006, channels).astype(np.float32)
            weights = self.generator.integers(-127, 128, kernel).astype(np.int8)
            bias = self.generator.integers(-500, 500, channels).astype(np.int32)
            step = self.tensors[source].quantization
            assert step is not None
            names = (
                self.constant(f"{output}/w", weights, Quantization.per_channel(scale, axis)),
                self.constant(f"{output}/b", bias, Quantization.per_channel(scale * step.scale[0], 0)),
            )
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        extra = {"depth_multiplier": 1} if depthwise else {}
        return self.op(kind, (source, *names), output, **{**_CONVOLUTION, **extra, **options})

    def graph(self, source: str, *outputs: str) -> Graph:
        graph = Graph(self.tensors, tuple(self.ops), (source,), outputs)
        graph.check()
        return graph


@pytest.fixture
def sketch() -> Sketch:
    return Sketch()


def _execute(graph: Graph, image: np.ndarray[Any, Any], *, delegate: bool = False) -> list[np.ndarray[Any, Any]]:
    """Outputs of a graph by LiteRT's reference kernels, or with its default delegate."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=write_tflite(graph), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    # LiteRT may order outputs as the file does: that is the graph's order.
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def _partitions(graph: Graph) -> int:
    """How many delegate partitions LiteRT makes of a graph."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=write_tflite(graph))
    interpreter.allocate_tensors()
    return sum(detail["op_name"] == "DELEGATE" for detail in interpreter._get_ops_details())


def _feed(graph: Graph, seed: int = 0, spread: float = 4.0) -> np.ndarray[Any, Any]:
    """A random input of the graph's dtype."""
    tensor = graph.tensors[graph.inputs[0]]
    generator = np.random.default_rng(seed)
    if tensor.dtype == "float32":
        return generator.normal(0, spread, tensor.shape).astype(np.float32)
    limits = np.iinfo(tensor.dtype)
    return generator.integers(limits.min, limits.max + 1, tensor.shape, dtype=tensor.dtype)


@pytest.fixture(name="execute", scope="session")
def execute_fixture() -> Any:
    return _execute


@pytest.fixture(name="partitions", scope="session")
def partitions_fixture() -> Any:
    return _partitions


@pytest.fixture(name="feed", scope="session")
def feed_fixture() -> Any:
    return _feed


@pytest.fixture(scope="session")
def same(execute: Any, feed: Any) -> Any:
    """Asserts that two float graphs compute the same."""

    def check(graph: Graph, rewritten: Graph, rtol: float = 2e-5) -> None:
        image = feed(graph)
        for old, new in zip(execute(graph, image), execute(rewritten, image), strict=True):
            np.testing.assert_allclose(new, old, rtol=rtol, atol=rtol * np.abs(old).max())

    return check


@pytest.fixture(scope="session")
def new_sketch() -> type[Sketch]:
    return Sketch
