"""Whole networks as PyTorch exports them: read, and held against ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnedge.graph.graph import Graph

    Agreed = Callable[..., Graph]


def _v1(net: Any) -> str:
    x = net.block("input", 3, 8, 3, 2, kind="relu")
    for before, after, stride in ((8, 16, 1), (16, 32, 2), (32, 32, 1)):
        x = net.block(x, before, before, 3, stride, group=before, kind="relu")
        x = net.block(x, before, after, kind="relu")
    return str(net.head(x, 32, 10))


def _v2(net: Any) -> str:
    x = net.block("input", 3, 8, 3, 2)
    x = net.inverted(x, 8, 8, 8, 3, 1)
    x = net.inverted(x, 8, 48, 16, 3, 2)
    x = net.inverted(x, 16, 96, 16, 3, 1)
    return str(net.head(net.block(x, 16, 64), 64, 10))


def _v3(net: Any) -> str:
    x = net.block("input", 3, 16, 3, 2, kind="hard-swish")
    x = net.inverted(x, 16, 16, 16, 3, 2, excite=True, kind="relu")
    x = net.inverted(x, 16, 72, 24, 5, 2, kind="relu")
    x = net.inverted(x, 24, 96, 24, 5, 1, excite=True, kind="hard-swish")
    return str(net.head(net.block(x, 24, 64, kind="hard-swish"), 64, 10, hidden=32))


def _boxes(net: Any, x: str, channels: int, anchors: int, values: int) -> str:
    """A head of SSDLite: depthwise, pointwise, and torchvision's view, permute and reshape."""
    x = net.block(x, channels, channels, 3, group=channels)
    x = net.conv(x, channels, anchors * values, bias=True)
    shape = net.node("Shape", x)
    batch, height, width = (net.node("Gather", shape, net.constant(np.array(i, np.int64)), axis=0) for i in (0, 2, 3))
    parts = [
        net.node("Unsqueeze", part, net.constant(np.array([0], np.int64)))
        if isinstance(part, str)
        else net.constant(np.array([part], np.int64))
        for part in (batch, anchors, values, height, width)
    ]
    x = net.node("Reshape", x, net.node("Concat", *parts, axis=0))
    x = net.node("Transpose", x, perm=[0, 3, 4, 1, 2])
    return str(net.node("Reshape", x, net.constant(np.array([1, -1, values], np.int64))))


def _ssdlite(net: Any) -> list[str]:
    first = net.inverted(net.block("input", 3, 16, 3, 2), 16, 32, 24, 3, 2)
    second = net.inverted(first, 24, 48, 32, 3, 2)
    maps = ((first, 24), (second, 32))
    boxes = net.node("Concat", *(_boxes(net, x, channels, 3, 4) for x, channels in maps), axis=1)
    scores = net.node("Concat", *(_boxes(net, x, channels, 3, 5) for x, channels in maps), axis=1)
    return [boxes, str(net.node("Softmax", scores, axis=-1))]


def _lr_aspp(net: Any) -> str:
    low = net.block("input", 3, 16, 3, 2, kind="hard-swish")
    high = net.inverted(net.inverted(low, 16, 32, 24, 3, 2), 24, 48, 24, 3, 1, dilation=2)
    branch = net.block(high, 24, 32, kind="relu")
    gate = net.node("Sigmoid", net.conv(net.node("GlobalAveragePool", high), 24, 32))
    x = net.node("Mul", branch, gate)
    size = net.node("Slice", net.node("Shape", low), *(net.constant(np.array([v], np.int64)) for v in (2, 4, 0)))
    first = net.node("Slice", net.node("Shape", x), *(net.constant(np.array([v], np.int64)) for v in (0, 2, 0)))
    none = net.constant(np.zeros(0, np.float32))
    x = net.node("Resize", x, none, none, net.node("Concat", first, size, axis=0), mode="linear",
                 coordinate_transformation_mode="pytorch_half_pixel")  # fmt: skip
    x = net.node("Add", net.conv(low, 16, 5, bias=True), net.conv(x, 32, 5, bias=True))
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    return str(net.node("Resize", x, none, scales, mode="linear", coordinate_transformation_mode="half_pixel"))


@pytest.mark.parametrize("opset", [11, 13, 17, 22])
@pytest.mark.parametrize("network", [_v1, _v2, _v3, _ssdlite, _lr_aspp], ids=lambda function: function.__name__)
def test_networks_agree_with_onnx_runtime_and_move_nothing(
    network: Callable[..., Any], opset: int, torch_style: Any, agreed: Agreed
) -> None:
    if network is _ssdlite and opset < 13:
        pytest.skip("its Unsqueeze takes axes as an input, from opset 13 on")
    net = torch_style(opset)
    graph = agreed(net.model(network(net)))
    kinds = Counter(op.kind for op in graph.ops)
    assert kinds["TRANSPOSE"] == 0, kinds
    assert not {"SHAPE", "GATHER", "STRIDED_SLICE"} & set(kinds)


def test_hard_swish_is_one_op_however_it_is_written(torch_style: Any, agreed: Agreed) -> None:
    for opset in (11, 17):
        net = torch_style(opset)
        kinds = Counter(op.kind for op in agreed(net.model(_v3(net))).ops)
        assert kinds["HARD_SWISH"] == 5
        assert kinds["RELU6"] == 2, "the gates"
