"""Networks as .onnx files: nodes one by one, and whole ones in the style of PyTorch's exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import TensorProto, helper, numpy_helper

from mnedge.formats.onnx_file import load_onnx
from mnedge.formats.onnx_read import graph_of, inputs_of
from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.graph.graph import Graph

# IR version 8 goes with every opset here, and every runtime reads it.
_IR = 8


class TorchStyle:
    """Writes a network node by node as torch.onnx.export does: NCHW, pads on both sides, limits of Clip as inputs."""

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset = opset
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.count = 0

    def constant(self, array: Any) -> str:
        """An initializer."""
        name = f"onnx::constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name of what it makes, or several."""
        self.count += 1
        names = [f"/{kind}_{self.count}_output_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"/{kind}_{self.count}", **attributes))
        return names[0] if outputs == 1 else names

    def normal(self, *shape: int) -> Any:
        """Random weights whose sums stay near 1."""
        fan = max(int(np.prod(shape[1:])), 1)
        return self.random.normal(0, (2.0 / fan) ** 0.5, shape).astype(np.float32)

    def batch_norm(self, x: str, channels: int) -> str:
        """An unfolded batch norm in inference mode."""
        values = (
            self.random.uniform(0.5, 1.5, channels), self.random.normal(0, 0.2, channels),
            self.random.normal(0, 0.2, channels), self.random.uniform(0.5, 1.5, channels),
        )  # fmt: skip
        names = [self.constant(value.astype(np.float32)) for value in values]
        return str(self.node("BatchNormalization", x, *names, epsilon=1e-5))

    def conv(self, x: str, before: int, after: int, window: int = 1, stride: int = 1, group: int = 1, *,
             dilation: int = 1, bias: bool = False) -> str:  # fmt: skip
        """A convolution with torch's padding."""
        inputs = [x, self.constant(self.normal(after, before // group, window, window))]
        if bias:
            inputs.append(self.constant(self.normal(after)))
        edge = dilation * (window - 1) // 2
        return str(self.node("Conv", *inputs, kernel_shape=[window] * 2, strides=[stride] * 2, pads=[edge] * 4,
                             group=group, dilations=[dilation] * 2))  # fmt: skip

    def activation(self, x: str, kind: str) -> str:
        """relu, relu6, hard-swish (as of opset 13 and before, or 14) or silu."""
        if kind == "relu":
            return str(self.node("Relu", x))
        if kind == "relu6":
            low, high = (self.constant(np.array(v, np.float32)) for v in (0, 6))
            return str(self.node("Clip", x, low, high))
        if kind == "silu":
            return str(self.node("Mul", x, self.node("Sigmoid", x)))
        if self.opset >= 14:
            return str(self.node("HardSwish", x))
        return str(self.node("Mul", x, self.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)))

    def block(self, x: str, before: int, after: int, window: int = 1, stride: int = 1, group: int = 1,
              kind: str = "relu6", dilation: int = 1) -> str:  # fmt: skip
        """Convolution, batch norm and activation ("" for none)."""
        made = self.conv(x, before, after, window, stride, group, dilation=dilation)
        made = self.batch_norm(made, after)
        return self.activation(made, kind) if kind else made

    def excited(self, x: str, channels: int, squeezed: int) -> str:
        """Squeeze and excitation as torchvision has it."""
        pooled = self.node("GlobalAveragePool", x)
        small = self.node("Relu", self.conv(pooled, channels, squeezed, bias=True))
        gate = self.node("HardSigmoid", self.conv(small, squeezed, channels, bias=True), alpha=1 / 6, beta=0.5)
        return str(self.node("Mul", x, gate))

    def inverted(self, x: str, before: int, wide: int, after: int, window: int, stride: int, *, excite: bool = False,
                 kind: str = "relu6", dilation: int = 1) -> str:  # fmt: skip
        """An inverted bottleneck of V2 or V3."""
        made = x if wide == before else self.block(x, before, wide, kind=kind)
        made = self.block(made, wide, wide, window, stride, group=wide, kind=kind, dilation=dilation)
        made = self.excited(made, wide, max(wide // 4, 8)) if excite else made
        made = self.block(made, wide, after, kind="")
        return str(self.node("Add", x, made)) if stride == 1 and before == after else made

    def head(self, x: str, channels: int, classes: int, hidden: int = 0, kind: str = "hard-swish") -> str:
        """Pooling, Flatten and Gemm."""
        made = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        if hidden:
            made = self.node("Gemm", made, self.constant(self.normal(hidden, channels)),
                             self.constant(self.normal(hidden)), transB=1)  # fmt: skip
            made, channels = self.activation(made, kind), hidden
        weights, bias = self.constant(self.normal(classes, channels)), self.constant(self.normal(classes))
        return str(self.node("Gemm", made, weights, bias, transB=1))

    def model(self, outputs: str | list[str], shape: tuple[int | str, ...] = ("batch", 3, 32, 32), name: str = "input",
              dtype: int = TensorProto.FLOAT, **metadata: str) -> onnx.ModelProto:  # fmt: skip
        """The model."""
        ends = [outputs] if isinstance(outputs, str) else outputs
        graph = helper.make_graph(
            self.nodes,
            "torch_jit",
            [helper.make_tensor_value_info(name, dtype, shape)],
            [helper.make_empty_tensor_value_info(end) for end in ends],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="pytorch")
        model.ir_version = _IR
        model = onnx.shape_inference.infer_shapes(model)
        helper.set_model_props(model, metadata)
        return model


def _in_litert(graph: Graph, feed: Any, *, delegate: bool = False) -> list[Any]:
    kernels = OpResolverType.BUILTIN if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=write_tflite(graph), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], feed)
    interpreter.invoke()
    # LiteRT lists outputs in the file's order.
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


@pytest.fixture
def torch_style() -> type[TorchStyle]:
    """The writer of networks."""
    return TorchStyle


@pytest.fixture
def in_litert() -> Callable[..., list[Any]]:
    """Runs a graph in LiteRT's own kernels, or with its delegate."""
    return _in_litert


@pytest.fixture
def agreed(tmp_path: Path) -> Callable[..., Graph]:
    """Reads a model, runs it in LiteRT and in ONNX Runtime on random input, and holds the outputs together."""

    def run(model: onnx.ModelProto, *, tolerance: float = 1e-4, seed: int = 0, scale: float = 1.0) -> Graph:
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        file = load_onnx(path)
        (entry,) = inputs_of(file)
        batch_one = (1, *entry.shape[1:])
        graph, notes = graph_of(file, [batch_one])
        shape = graph.tensors[entry.name].shape
        logical = tuple(shape[entry.order.index(axis)] for axis in range(len(shape)))
        feed = (scale * np.random.default_rng(seed).normal(size=logical)).astype(np.float32)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        wanted = session.run(None, {entry.name: feed})
        found = _in_litert(graph, np.ascontiguousarray(feed.transpose(entry.order)))
        for name, theirs, ours in zip(graph.outputs, wanted, found, strict=True):
            said = f"Output {name} is NCHW in the .onnx and NHWC here" in notes
            lies_nhwc = said or graph.tensors[name].shape != theirs.shape
            moved = theirs.transpose(0, 2, 3, 1) if lies_nhwc else theirs
            assert moved.shape == ours.shape, name
            largest = max(float(np.abs(moved).max()), 1e-3)
            np.testing.assert_allclose(ours, moved, rtol=0, atol=tolerance * largest, err_msg=name)
        return graph

    return run
