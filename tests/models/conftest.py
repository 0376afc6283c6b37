"""MobileNets as PyTorch computes them, written as ONNX graphs after the module code of torchvision and timm.

They name their own weights as the libraries' state_dict does, and share nothing with mnedge's tables.
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnxruntime
    from numpy.typing import NDArray


def _eight(channels: float) -> int:
    """A width as a multiple of 8, never more than 10 % narrower."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


@pytest.fixture(scope="session")
def write_safetensors() -> Callable[[Path, dict[str, NDArray[np.generic]]], Path]:
    """Writes a state_dict as torch's users do."""
    return _write_safetensors


@pytest.fixture(scope="session")
def pytorch_net() -> Callable[[str, float, int], Net]:
    """A network with random weights: library and name, width, classes."""
    made: dict[str, Callable[[float, int], Net]] = {
        "timm v1": _timm_v1, "torchvision v2": _torchvision_v2, "torchvision v3-small": _torchvision_v3_small,
        "timm v3-small": _timm_v3_small, "timm v4-conv-small": partial(_timm_v4, "small"),
        "timm v4-conv-medium": partial(_timm_v4, "medium"), "timm v4-hybrid-medium": partial(_timm_v4, "hybrid"),
    }  # fmt: skip
    return lambda name, alpha, classes: made[name](alpha, classes)


def _write_safetensors(path: Path, arrays: dict[str, NDArray[np.generic]]) -> Path:
    """Writes arrays as the format has them; bool, float16, float32 and int64."""
    kinds = {"float32": "F32", "float16": "F16", "int64": "I64", "bool": "BOOL"}
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, values in arrays.items():
        content = np.ascontiguousarray(values).tobytes()
        place = [len(body), len(body) + len(content)]
        header[name] = {"dtype": kinds[values.dtype.name], "shape": list(values.shape), "data_offsets": place}  # type: ignore[dict-item]
        body += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


class Net:
    """A graph that grows layer by layer; `state` is its state_dict, drawn at random."""

    def __init__(self, epsilon: float, seed: int = 0) -> None:
        self.epsilon = epsilon
        self.generator = np.random.default_rng(seed)
        self.nodes: list = []
        self.state: dict[str, NDArray[np.generic]] = {}
        self.constants: dict[str, NDArray[np.generic]] = {}
        self.integers: dict[str, NDArray[np.int64]] = {}
        self.channels, self.last = 3, "image"

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        self.last = name
        return name

    def constant(self, name: str, values: list[float]) -> str:
        self.constants[name] = np.array(values[0] if len(values) == 1 else values, np.float32)
        return name

    def conv(
        self, name: str, channels: int, kernel: int, stride: int = 1, groups: int = 1, *, bias: bool = False
    ) -> None:
        fan_in = self.channels // groups * kernel**2
        shape = (channels, self.channels // groups, kernel, kernel)
        self.state[f"{name}.weight"] = self.generator.normal(0, math.sqrt(2 / fan_in), shape).astype(np.float32)
        inputs = [self.last, f"{name}.weight"]
        if bias:
            self.state[f"{name}.bias"] = self.generator.normal(0, 0.1, channels).astype(np.float32)
            inputs.append(f"{name}.bias")
        self.op("Conv", *inputs, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
        self.channels = channels

    def depthwise(self, name: str, kernel: int, stride: int = 1) -> None:
        self.conv(name, self.channels, kernel, stride, self.channels)

    def norm(self, name: str) -> None:
        shape = self.channels
        # The epsilons matter beside the smallest variances; still smaller ones would blow up what float32 rounds.
        drawn = {
            "weight": self.generator.uniform(0.5, 1.5, shape), "bias": self.generator.normal(0, 0.2, shape),
            "running_mean": self.generator.normal(0, 0.2, shape), "running_var": self.generator.uniform(0.05, 2, shape),
        }  # fmt: skip
        self.state |= {f"{name}.{part}": values.astype(np.float32) for part, values in drawn.items()}
        self.state[f"{name}.num_batches_tracked"] = np.array(7, np.int64)
        self.op("BatchNormalization", self.last, *(f"{name}.{part}" for part in drawn), epsilon=self.epsilon)

    def relu(self) -> None:
        self.op("Relu", self.last)

    def relu6(self) -> None:
        self.op("Clip", self.last, self.constant("0", [0.0]), self.constant("6", [6.0]))

    def hard_swish(self) -> None:
        source = self.last
        self.op("Mul", source, self.op("HardSigmoid", source, alpha=1 / 6, beta=0.5))

    def squeeze(self, first: str, second: str, channels: int) -> None:
        source, wide = self.last, self.channels
        self.op("GlobalAveragePool", source)
        self.conv(first, channels, 1, bias=True)
        self.relu()
        self.conv(second, wide, 1, bias=True)
        self.op("Mul", source, self.op("HardSigmoid", self.last, alpha=1 / 6, beta=0.5))

    def gain(self, name: str) -> None:
        """timm's LayerScale2d: a factor for each channel."""
        self.state[name] = self.generator.uniform(0.3, 0.8, self.channels).astype(np.float32)
        self.integers["column"] = np.array([-1, 1, 1], np.int64)
        source = self.last
        self.op("Mul", source, self.op("Reshape", name, "column"))

    def add(self, source: str) -> None:
        self.op("Add", source, self.last)

    def linear(self, name: str, values: int) -> None:
        shape = (values, self.channels)
        self.state[f"{name}.weight"] = self.generator.normal(0, math.sqrt(2 / self.channels), shape).astype(np.float32)
        self.state[f"{name}.bias"] = self.generator.normal(0, 0.1, values).astype(np.float32)
        self.op("Gemm", self.last, f"{name}.weight", f"{name}.bias", transB=1)
        self.channels = values

    def session(self) -> onnxruntime.InferenceSession:
        """The network as ONNX Runtime runs it: float32 (1, 3, H, W), prepared -> softmax of its logits."""
        import onnxruntime

        self.op("Softmax", self.last, axis=1)
        held = {name: values for name, values in (self.state | self.constants).items() if values.dtype == np.float32}
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, None, None])],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(values, name) for name, values in (held | self.integers).items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _torchvision_v2(alpha: float, classes: int) -> Net:
    net = Net(1e-5)

    def conv(name: str, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        net.conv(f"{name}.0", channels, kernel, stride, groups)
        net.norm(f"{name}.1")
        net.relu6()

    conv("features.0", _eight(32 * alpha), 3, 2)
    number = 1
    for expansion, width, repeats, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for place in range(repeats):
            source, channels_in, step = net.last, net.channels, stride if place == 0 else 1
            prefix, module = f"features.{number}.conv", 0
            if expansion > 1:
                conv(f"{prefix}.0", channels_in * expansion, 1)
                module = 1
            conv(f"{prefix}.{module}", net.channels, 3, step, net.channels)
            net.conv(f"{prefix}.{module + 1}", _eight(width * alpha), 1)
            net.norm(f"{prefix}.{module + 2}")
            if step == 1 and net.channels == channels_in:
                net.add(source)
            number += 1
    conv(f"features.{number}", _eight(1280 * max(1.0, alpha)), 1)
    net.op("GlobalAveragePool", net.last)
    net.op("Flatten", net.last)
    net.linear("classifier.1", classes)
    return net


# Kernel, expanded width, width, squeeze-and-excite, hard-swish, stride.
_V3_SMALL = (
    (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1), (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1), (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2), (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
)  # fmt: skip


def _torchvision_v3_small(_alpha: float, classes: int) -> Net:
    net = Net(1e-3)

    def conv(name: str, channels: int, kernel: int, stride: int = 1, groups: int = 1, *, swish: bool) -> None:
        net.conv(f"{name}.0", channels, kernel, stride, groups)
        net.norm(f"{name}.1")
        (net.hard_swish if swish else net.relu)()

    conv("features.0", 16, 3, 2, swish=True)
    for number, (kernel, wide, width, squeezes, swish, stride) in enumerate(_V3_SMALL, start=1):
        source, channels_in, module = net.last, net.channels, 0
        if wide != channels_in:
            conv(f"features.{number}.block.0", wide, 1, swish=swish)
            module = 1
        conv(f"features.{number}.block.{module}", wide, kernel, stride, wide, swish=swish)
        module += 1
        if squeezes:
            prefix = f"features.{number}.block.{module}"
            net.squeeze(f"{prefix}.fc1", f"{prefix}.fc2", _eight(wide // 4))
            module += 1
        net.conv(f"features.{number}.block.{module}.0", width, 1)
        net.norm(f"features.{number}.block.{module}.1")
        if stride == 1 and width == channels_in:
            net.add(source)
    conv("features.12", 576, 1, swish=True)
    net.op("GlobalAveragePool", net.last)
    net.op("Flatten", net.last)
    net.linear("classifier.0", 1024)
    net.hard_swish()
    net.linear("classifier.3", classes)
    return net


def _timm_v1(alpha: float, classes: int) -> Net:
    net = Net(1e-5)
    net.conv("conv_stem", _eight(32 * alpha), 3, 2)
    net.norm("bn1")
    net.relu6()
    for stage, (repeats, stride, width) in enumerate(((1, 1, 64), (2, 2, 128), (2, 2, 256), (6, 2, 512), (2, 2, 1024))):
        for place in range(repeats):
            prefix = f"blocks.{stage}.{place}."
            net.depthwise(f"{prefix}conv_dw", 3, stride if place == 0 else 1)
            net.norm(f"{prefix}bn1")
            net.relu6()
            net.conv(f"{prefix}conv_pw", _eight(width * alpha), 1)
            net.norm(f"{prefix}bn2")
            net.relu6()
    net.op("GlobalAveragePool", net.last)
    net.op("Flatten", net.last)
    net.linear("classifier", classes)
    return net


def _timm_v3_small(_alpha: float, classes: int) -> Net:
    net = Net(1e-5)
    net.conv("conv_stem", 16, 3, 2)
    net.norm("bn1")
    net.hard_swish()
    rows = iter(_V3_SMALL)
    for stage, repeats in enumerate((1, 2, 3, 2, 3)):
        for place in range(repeats):
            kernel, wide, width, squeezes, swish, stride = next(rows)
            source, channels_in, prefix = net.last, net.channels, f"blocks.{stage}.{place}."
            number = 1
            if wide != channels_in:
                net.conv(f"{prefix}conv_pw", wide, 1)
                net.norm(f"{prefix}bn1")
                (net.hard_swish if swish else net.relu)()
                number = 2
            net.depthwise(f"{prefix}conv_dw", kernel, stride)
            net.norm(f"{prefix}bn{number}")
            (net.hard_swish if swish else net.relu)()
            if squeezes:
                net.squeeze(f"{prefix}se.conv_reduce", f"{prefix}se.conv_expand", _eight(wide * 0.25))
            net.conv(f"{prefix}{'conv_pw' if number == 1 else 'conv_pwl'}", width, 1)
            net.norm(f"{prefix}bn{number + 1}")
            if stride == 1 and width == channels_in:
                net.add(source)
    net.conv("blocks.5.0.conv", 576, 1)
    net.norm("blocks.5.0.bn1")
    net.hard_swish()
    net.op("GlobalAveragePool", net.last)
    net.conv("conv_head", 1024, 1, bias=True)
    net.hard_swish()
    net.op("Flatten", net.last)
    net.linear("classifier", classes)
    return net


# Rows of timm's definitions: "cn" kernel, stride, width; "er" expansion, stride, width; "ui" start, middle, stride,
# expansion, width; "mqa" stride of keys and values, stride, width.
_V4: dict[str, tuple[tuple[tuple[str, tuple[int, ...]], ...], ...]] = {
    "small": (
        (("cn", (3, 2, 32)), ("cn", (1, 1, 32))),
        (("cn", (3, 2, 96)), ("cn", (1, 1, 64))),
        (("ui", (5, 5, 2, 3, 96)), *(("ui", (0, 3, 1, 2, 96)),) * 4, ("ui", (3, 0, 1, 4, 96))),
        (
            ("ui", (3, 3, 2, 6, 128)), ("ui", (5, 5, 1, 4, 128)), ("ui", (0, 5, 1, 4, 128)), ("ui", (0, 5, 1, 3, 128)),
            ("ui", (0, 3, 1, 4, 128)), ("ui", (0, 3, 1, 4, 128)),
        ),
        (("cn", (1, 1, 960)),),
    ),
    "medium": (
        (("er", (4, 2, 48)),),
        (("ui", (3, 5, 2, 4, 80)), ("ui", (3, 3, 1, 2, 80))),
        (
            ("ui", (3, 5, 2, 6, 160)), ("ui", (3, 3, 1, 4, 160)), ("ui", (3, 3, 1, 4, 160)), ("ui", (3, 5, 1, 4, 160)),
            ("ui", (3, 3, 1, 4, 160)), ("ui", (3, 0, 1, 4, 160)), ("ui", (0, 0, 1, 2, 160)), ("ui", (3, 0, 1, 4, 160)),
        ),
        (
            ("ui", (5, 5, 2, 6, 256)), ("ui", (5, 5, 1, 4, 256)), ("ui", (3, 5, 1, 4, 256)), ("ui", (3, 5, 1, 4, 256)),
            ("ui", (0, 0, 1, 4, 256)), ("ui", (3, 0, 1, 4, 256)), ("ui", (3, 5, 1, 2, 256)), ("ui", (5, 5, 1, 4, 256)),
            ("ui", (0, 0, 1, 4, 256)), ("ui", (0, 0, 1, 4, 256)), ("ui", (5, 0, 1, 2, 256)),
        ),
        (("cn", (1, 1, 960)),),
    ),
    "hybrid": (
        (("er", (4, 2, 48)),),
        (("ui", (3, 5, 2, 4, 80)), ("ui", (3, 3, 1, 2, 80))),
        (
            ("ui", (3, 5, 2, 6, 160)), ("ui", (0, 0, 1, 2, 160)), ("ui", (3, 3, 1, 4, 160)), ("ui", (3, 5, 1, 4, 160)),
            ("mqa", (2, 1, 160)), ("ui", (3, 3, 1, 4, 160)), ("mqa", (2, 1, 160)), ("ui", (3, 0, 1, 4, 160)),
            ("mqa", (2, 1, 160)), ("ui", (3, 3, 1, 4, 160)), ("mqa", (2, 1, 160)), ("ui", (3, 0, 1, 4, 160)),
        ),
        (
            ("ui", (5, 5, 2, 6, 256)), ("ui", (5, 5, 1, 4, 256)), ("ui", (3, 5, 1, 4, 256)), ("ui", (3, 5, 1, 4, 256)),
            ("ui", (0, 0, 1, 2, 256)), ("ui", (3, 5, 1, 2, 256)), ("ui", (0, 0, 1, 2, 256)), ("ui", (0, 0, 1, 4, 256)),
            ("mqa", (1, 1, 256)), ("ui", (3, 0, 1, 4, 256)), ("mqa", (1, 1, 256)), ("ui", (5, 5, 1, 4, 256)),
            ("mqa", (1, 1, 256)), ("ui", (5, 0, 1, 4, 256)), ("mqa", (1, 1, 256)), ("ui", (5, 0, 1, 4, 256)),
        ),
        (("cn", (1, 1, 960)),),
    ),
}  # fmt: skip


def _attention(net: Net, prefix: str, stride: int) -> None:
    """timm's MobileAttention with MultiQueryAttention2d, in NCHW: four heads of 64, their keys and values shared."""
    wide = net.channels
    net.norm(f"{prefix}norm")
    normed = net.last

    def projected(part: str, channels: int, step: int) -> str:
        net.last, net.channels = normed, wide
        if step > 1:
            net.depthwise(f"{prefix}attn.{part}.down_conv", 3, step)
            net.norm(f"{prefix}attn.{part}.norm")
        net.conv(f"{prefix}attn.{part}.proj", channels, 1)
        return net.last

    def reshaped(value: str, *shape: int) -> str:
        name = "to_" + "_".join(map(str, shape))
        net.integers[name] = np.array(shape, np.int64)
        return net.op("Reshape", value, name)

    query = projected("query", 256, 1)
    query = net.op("Transpose", reshaped(query, 1, 4, 64, -1), perm=[0, 1, 3, 2])
    key, value = (reshaped(projected(part, 64, stride), 1, 1, 64, -1) for part in ("key", "value"))
    scores = net.op("Mul", net.op("MatMul", query, key), net.constant("eighth", [0.125]))
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), net.op("Transpose", value, perm=[0, 1, 3, 2]))
    # (1, heads, positions, 64) -> (1, heads x 64, H, W) of the queries' map.
    mixed = net.op("Transpose", mixed, perm=[0, 1, 3, 2])
    shape = net.op("Shape", normed)
    net.integers |= {"from": np.array([2], np.int64), "to": np.array([4], np.int64), "head": np.array([1, 256])}
    net.op("Reshape", mixed, net.op("Concat", "head", net.op("Slice", shape, "from", "to"), axis=0))
    net.channels = 256
    net.conv(f"{prefix}attn.output.proj", wide, 1)


def _timm_v4(size: str, alpha: float, classes: int) -> Net:
    net = Net(1e-5)
    _normed(net, "conv_stem", "bn1", 32, 3, 2)
    for stage, rows in enumerate(_V4[size]):
        for place, (kind, row) in enumerate(rows):
            prefix, source, channels_in = f"blocks.{stage}.{place}.", net.last, net.channels
            width, stride = _eight(row[-1] * alpha), row[2] if kind == "ui" else row[1]
            if kind == "cn":
                _normed(net, f"{prefix}conv", f"{prefix}bn1", width, row[0], stride)
                continue
            if kind == "mqa":
                _attention(net, prefix, row[0])
            elif kind == "er":
                _normed(net, f"{prefix}conv_exp", f"{prefix}bn1", _eight(channels_in * row[0]), 3, stride)
                _normed(net, f"{prefix}conv_pwl", f"{prefix}bn2", width, 1, relu=False)
            else:
                _universal(net, prefix, row, width)
            if size == "hybrid" and kind != "er":
                net.gain(f"{prefix}layer_scale.gamma")
            if stride == 1 and width == channels_in:
                net.add(source)
    net.op("GlobalAveragePool", net.last)
    _normed(net, "conv_head", "norm_head", 1280, 1)
    net.op("Flatten", net.last)
    net.linear("classifier", classes)
    return net


def _normed(
    net: Net, name: str, norm: str, channels: int, kernel: int, stride: int = 1, groups: int = 1, *, relu: bool = True
) -> None:
    net.conv(name, channels, kernel, stride, groups)
    net.norm(norm)
    if relu:
        net.relu()


def _universal(net: Net, prefix: str, row: tuple[int, ...], width: int) -> None:
    start, middle, stride, expansion, _ = row
    narrow = net.channels
    wide = _eight(narrow * expansion)
    if start:
        step = 1 if middle else stride
        _normed(net, f"{prefix}dw_start.conv", f"{prefix}dw_start.bn", narrow, start, step, narrow, relu=False)
    _normed(net, f"{prefix}pw_exp.conv", f"{prefix}pw_exp.bn", wide, 1)
    if middle:
        _normed(net, f"{prefix}dw_mid.conv", f"{prefix}dw_mid.bn", wide, middle, stride, wide)
    _normed(net, f"{prefix}pw_proj.conv", f"{prefix}pw_proj.bn", width, 1, relu=False)
