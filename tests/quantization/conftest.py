"""Tiny float networks and pictures to quantize, and LiteRT to judge the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.graph.graph import Graph, Op, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Callable


def conv_options(stride: int = 1, activation: str = "NONE") -> dict[str, Any]:
    return {
        "stride_h": stride, "stride_w": stride, "padding": "SAME", "activation": activation,
        "dilation_h_factor": 1, "dilation_w_factor": 1,
    }  # fmt: skip


def build_network(spread: float, *, hard_swish: bool = False) -> Graph:
    """conv, depthwise, conv, mean, fully connected, softmax; inner channels are scaled by up to `spread`.

    The factors are taken back where the channels are read: the function does not depend on `spread`.
    """
    rng = np.random.default_rng(11)
    factor = np.exp(rng.uniform(-np.log(spread), 0, 12)).astype(np.float32)
    factor[0] = 1.0
    first = rng.normal(0, 0.4, (12, 3, 3, 3)).astype(np.float32)
    depth = rng.normal(0, 0.4, (1, 3, 3, 12)).astype(np.float32)
    second = rng.normal(0, 0.4, (16, 1, 1, 12)).astype(np.float32)
    values = {
        "w1": first * factor[:, None, None, None],
        "b1": rng.normal(0, 0.2, 12).astype(np.float32) * factor,
        "w2": depth,
        "b2": rng.normal(0, 0.2, 12).astype(np.float32) * factor,
        "w3": second / factor,
        "b3": rng.normal(0, 0.2, 16).astype(np.float32),
        "axes": np.array([1, 2], np.int32),
        "w4": rng.normal(0, 3.0, (10, 16)).astype(np.float32),
        "b4": np.zeros(10, np.float32),
    }
    shapes = {
        "image": (1, 16, 16, 3), "conv1": (1, 8, 8, 12), "conv2": (1, 8, 8, 12), "conv3": (1, 8, 8, 16),
        "mean": (1, 16), "logits": (1, 10), "scores": (1, 10),
    }  # fmt: skip
    ops = [
        Op("CONV_2D", ("image", "w1", "b1"), ("conv1",), conv_options(2, "RELU")),
        Op("DEPTHWISE_CONV_2D", ("conv1", "w2", "b2"), ("conv2",), conv_options(1, "RELU") | {"depth_multiplier": 1}),
        Op("CONV_2D", ("conv2", "w3", "b3"), ("conv3",), conv_options(1, "NONE" if hard_swish else "RELU")),
        Op("MEAN", ("swish" if hard_swish else "conv3", "axes"), ("mean",), {"keep_dims": False}),
        Op("FULLY_CONNECTED", ("mean", "w4", "b4"), ("logits",), {"activation": "NONE"}),
        Op("SOFTMAX", ("logits",), ("scores",), {"beta": 1.0}),
    ]
    if hard_swish:
        values["three"] = np.array(3.0, np.float32)
        shapes |= {"gate": (1, 8, 8, 16), "swish": (1, 8, 8, 16)}
        gate = Op("ADD", ("conv3", "three"), ("gate",), {"activation": "RELU6"})
        ops[3:3] = [gate, Op("MUL", ("conv3", "gate"), ("swish",), {"activation": "NONE"})]
    tensors = [Tensor(name, shape, "float32") for name, shape in shapes.items()]
    tensors += [constant(name, np.asarray(value)) for name, value in values.items()]
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("image",), ("scores",))


@pytest.fixture(scope="session")
def outliers() -> Graph:
    return build_network(3000.0)


@pytest.fixture(scope="session")
def swish() -> Graph:
    return build_network(30.0, hard_swish=True)


def smooth_pictures(count: int, seed: int) -> Any:
    """Pixels of blurred noise, as real values p / 127.5 - 1: neighbours are alike, as in photographs."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 256, (count, 4, 4, 3))
    pixels = np.clip(coarse.repeat(4, 1).repeat(4, 2) + rng.normal(0, 20, (count, 16, 16, 3)), 0, 255).astype(np.uint8)
    return (pixels / np.float32(127.5) - 1).astype(np.float32)


@pytest.fixture(scope="session")
def pictures() -> Any:
    return smooth_pictures(64, 1)


@pytest.fixture(scope="session")
def others() -> Any:
    return smooth_pictures(256, 2)


@dataclass
class Net:
    """A float network written down layer by layer; `x` is its input and `at` the activation made last."""

    shape: tuple[int, ...] = (1, 8, 8, 3)
    seed: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    at: str = "x"

    def __post_init__(self) -> None:
        self.tensors["x"] = Tensor("x", self.shape, "float32")
        self.rng = np.random.default_rng(self.seed)

    def constant(self, name: str, data: Any) -> str:
        self.tensors[name] = constant(name, np.asarray(data))
        return name

    def op(self, kind: str, name: str, inputs: tuple[str, ...], shape: tuple[int, ...], **options: Any) -> Net:
        self.tensors[name] = Tensor(name, shape, "float32")
        self.ops.append(Op(kind, inputs, (name,), options))
        self.at = name
        return self

    def conv(self, name: str, made: int = 0, *, kernel: int = 3, stride: int = 1, activation: str = "RELU",
             depthwise: bool = False, weights: Any = None, bias: Any = None) -> Net:  # fmt: skip
        _, rows, columns, depth = self.tensors[self.at].shape
        made = depth if depthwise else made
        shape = (1, kernel, kernel, made) if depthwise else (made, kernel, kernel, depth)
        fan_in = kernel * kernel * (1 if depthwise else depth)
        if weights is None:
            weights = self.rng.normal(0, np.sqrt(2 / fan_in), shape)
        if bias is None:
            bias = self.rng.normal(0, 0.2, made)
        names = (
            self.constant(f"{name}/w", np.asarray(weights, np.float32).reshape(shape)),
            self.constant(f"{name}/b", np.asarray(bias, np.float32)),
        )
        options = conv_options(stride, activation) | ({"depth_multiplier": 1} if depthwise else {})
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        return self.op(kind, name, (self.at, *names), (1, -(-rows // stride), -(-columns // stride), made), **options)

    def add(self, name: str, other: str, activation: str = "NONE") -> Net:
        return self.op("ADD", name, (self.at, other), self.tensors[self.at].shape, activation=activation)

    def hard_swish(self, name: str) -> Net:
        """x * relu6(x + 3) in two ops; the sixth is for whoever reads it."""
        data, shape = self.at, self.tensors[self.at].shape
        three = self.constant(f"{name}/three", np.float32(3.0))
        self.op("ADD", f"{name}/gate", (data, three), shape, activation="RELU6")
        return self.op("MUL", name, (data, f"{name}/gate"), shape, activation="NONE")

    def mean(self, name: str = "mean") -> Net:
        shape = self.tensors[self.at].shape
        axes = self.constant("axes", np.array([1, 2], np.int32))
        return self.op("MEAN", name, (self.at, axes), (1, shape[3]), keep_dims=False)

    def dense(self, name: str, made: int) -> Net:
        """A classifier whose logits have mean 0 and spread 3 on pictures, so that every class comes up."""
        features = predict(self.graph(), _images(64, seed=99)).astype(np.float64)
        spread = np.maximum(features.std(0), features.std(0).mean() * 0.3)
        weights = self.rng.normal(0, 1 / np.sqrt(len(spread)), (made, len(spread))) / spread
        weights = 3 * weights / (features @ weights.T).std(0)[:, None]
        names = (
            self.constant(f"{name}/w", weights.astype(np.float32)),
            self.constant(f"{name}/b", (-weights @ features.mean(0)).astype(np.float32)),
        )
        return self.op("FULLY_CONNECTED", name, (self.at, *names), (1, made), activation="NONE", keep_num_dims=False)

    def softmax(self, name: str = "scores") -> Net:
        return self.op("SOFTMAX", name, (self.at,), self.tensors[self.at].shape, beta=1.0)

    def graph(self, *outputs: str) -> Graph:
        graph = Graph(self.tensors, tuple(self.ops), ("x",), outputs or (self.at,))
        graph = graph.replaced()
        graph.check()
        return graph


def _separable(seed: int = 0, activation: str = "RELU6") -> Net:
    """Convolution, depthwise, pointwise with a residual, and a classifier: a MobileNet in small."""
    net = Net(seed=seed)
    net.conv("stem", 8, stride=2, activation=activation).conv("deep", depthwise=True, activation=activation)
    net.conv("point", 8, kernel=1, activation="NONE").add("sum", "stem")
    return net.conv("wide", 16, kernel=1, activation=activation).mean().dense("logits", 5).softmax()


def _planted() -> Graph:
    """A network in which two of eight channels are hundreds of times as loud as the others, and say as much."""
    net = Net(seed=4)
    loud = np.ones(8)
    loud[:2] = 600.0, 300.0
    stem = net.rng.normal(0, 0.27, (8, 3, 3, 3)) * loud[:, None, None, None]
    net.conv("stem", 8, stride=2, weights=stem, bias=net.rng.normal(0, 0.2, 8) * loud)
    net.conv("deep", depthwise=True)
    net.conv("point", 12, kernel=1, weights=net.rng.normal(0, 0.5, (12, 1, 1, 8)) / loud)
    return net.mean().dense("logits", 6).softmax().graph()


def _images(count: int, seed: int = 0, side: int = 8) -> Any:
    """float32 (N, side, side, 3) in [-1, 1], p / 127.5 - 1: coloured blobs, each picture with its own contrast."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (count, side // 2, side // 2, 3)).repeat(2, 1).repeat(2, 2)
    contrast = rng.uniform(20, 90, (count, 1, 1, 1))
    pixels = np.clip(np.round(coarse * contrast + 128), 0, 255)
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def _litert(int8: Graph, images: Any, *, delegate: bool = False) -> Any:
    """First output, as real values, of an int8 graph in LiteRT for pictures in [-1, 1]."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=write_tflite(int8), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    source, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    steps = np.round((images + 1) * 127.5).astype(np.int64) - 128
    results = []
    for picture in steps.astype(np.int8):
        interpreter.set_tensor(source, picture[None])
        interpreter.invoke()
        results.append(interpreter.get_tensor(made)[0])
    quantization = int8.tensors[int8.outputs[0]].quantization
    return np.stack(results) if quantization is None else quantization.dequantize(np.stack(results))


@pytest.fixture(name="net", scope="session")
def net_fixture() -> type[Net]:
    return Net


@pytest.fixture(name="separable", scope="session")
def separable_fixture() -> Any:
    return _separable


@pytest.fixture(name="planted", scope="session")
def planted_fixture() -> Graph:
    return _planted()


@pytest.fixture(name="images", scope="session")
def images_fixture() -> Any:
    return _images


@pytest.fixture(name="litert", scope="session")
def litert_fixture() -> Any:
    return _litert


def _ended(end: str) -> Graph:
    """A small network with an output of a kind."""
    columns = 1 if end == "sigmoid" else 4
    net = Net().conv("conv", 6, stride=2)
    if end == "logits of one pixel":
        # As exporters write a classifier that is a convolution.
        net.conv("far", 6, stride=4).conv("pixel", columns, kernel=1, activation="NONE")
        return net.op("RESHAPE", "values", ("pixel", net.constant("shape", np.array([1, columns], np.int32))),
                      (1, columns)).graph()  # fmt: skip
    net.mean().dense("values", columns)
    if end == "softmax":
        net.softmax()
    elif end in ("sigmoid", "multi-label"):
        net.op("LOGISTIC", "chances", ("values",), (1, columns))
    elif end == "numbers":
        net.op("TANH", "numbers", ("values",), (1, columns))
    return net.graph("values", "mean") if end == "two outputs" else net.graph()


@pytest.fixture
def ended() -> Callable[[str], Graph]:
    """Makes a small network with an output of a kind."""
    return _ended
