"""pad-channels, quad-columns and tile-gate: what ONNX Runtime's kernels for x86 want."""

from typing import Any

import numpy as np
import pytest

from mnedge.passes import pad_channels, quad_columns, tile_gate
from mnedge.passes._pass import run_passes

_STRIDES = {"stride_h": 2, "stride_w": 2}


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 3), (6, 12, 1), (10, 16, 4)])
def test_quads_compute_the_same_bytes(
    sketch: Any, height: int, width: int, channels: int, execute: Any, feed: Any
) -> None:
    sketch.value("x", 1, height, width, channels, q=(1 / 127.5, -1))
    sketch.value("y", 1, height // 2, width // 2, 6, q=(0.02, 5))
    sketch.conv("x", "y", (6, 3, 3, channels), activation="RELU6", **_STRIDES)
    graph = sketch.graph("x", "y")
    rewritten = quad_columns.apply(graph)
    assert [op.kind for op in rewritten.ops] == ["RESHAPE", "CONV_2D", "RESHAPE"]
    for seed in range(3):
        image = feed(graph, seed)
        assert np.array_equal(execute(graph, image)[0], execute(rewritten, image)[0])


@pytest.mark.parametrize(
    ("height", "width", "kernel", "stride"), [(8, 6, 3, 2), (7, 8, 3, 2), (8, 8, 5, 2), (8, 8, 3, 1)]
)
def test_other_first_convolutions_stay(sketch: Any, height: int, width: int, kernel: int, stride: int) -> None:
    sketch.value("x", 1, height, width, 3, q=(1 / 127.5, -1))
    sketch.value("y", 1, -(-height // stride), -(-width // stride), 6, q=(0.02, 5))
    sketch.conv("x", "y", (6, kernel, kernel, 3), stride_h=stride, stride_w=stride)
    assert [op.kind for op in quad_columns.apply(sketch.graph("x", "y")).ops] == ["CONV_2D"]


def _block(sketch: Any, channels: int) -> Any:
    """An inverted residual block with a lowered hard-swish and squeeze-and-excite."""
    wide = {"e": (0.04, 3), "r": (6 / 255, -128), "h": (0.1, -100), "d": (0.05, 0), "g": (0.1, 4)}
    for name, q in wide.items():
        sketch.value(name, 1, 6, 6, channels, q=q)
    sketch.value("x", 1, 6, 6, 8, q=(0.03, 1))
    sketch.value("m", 1, 1, 1, channels, q=(0.05, 0))
    sketch.value("s", 1, 1, 1, 4, q=(0.05, -128))
    sketch.value("t", 1, 1, 1, channels, q=(6 / 255, -128))
    sketch.value("p", 1, 6, 6, 8, q=(0.2, 0))
    sketch.value("y", 1, 6, 6, 8, q=(0.2, 0))
    quantization = sketch.tensors["x"].quantization.__class__.per_tensor(3 / 127, 0)
    sketch.constant("three", np.array(127, np.int8), quantization)
    sketch.constant("axes", np.array([1, 2], np.int32))
    sketch.conv("x", "e", (channels, 1, 1, 8))
    sketch.op("ADD", ("e", "three"), "r", activation="RELU6")
    sketch.op("MUL", ("e", "r"), "h", activation="NONE")
    sketch.conv("h", "d", (1, 3, 3, channels), depthwise=True)
    sketch.op("MEAN", ("d", "axes"), "m", keep_dims=True)
    sketch.conv("m", "s", (4, 1, 1, channels), activation="RELU")
    sketch.conv("s", "t", (channels, 1, 1, 4), activation="RELU6")
    sketch.op("MUL", ("d", "t"), "g", activation="NONE")
    sketch.conv("g", "p", (8, 1, 1, channels))
    sketch.op("ADD", ("p", "x"), "y", activation="NONE")
    return sketch.graph("x", "y")


@pytest.mark.parametrize("channels", [24, 17, 8])
def test_a_block_is_widened_and_computes_the_same_bytes(sketch: Any, channels: int, execute: Any, feed: Any) -> None:
    graph = _block(sketch, channels)
    widened = pad_channels.apply(graph)
    full = -(-channels // 16) * 16
    assert all(widened.tensors[name].shape[3] == full for name in ("e", "r", "h", "d", "g", "m", "t"))
    assert widened.tensors["s"].shape == graph.tensors["s"].shape
    assert widened.tensors["y"].shape == graph.tensors["y"].shape
    for seed in range(3):
        image = feed(graph, seed)
        assert np.array_equal(execute(graph, image)[0], execute(widened, image)[0])


def test_full_channels_and_channels_that_the_caller_sees_stay(sketch: Any) -> None:
    graph = _block(sketch, 32)
    assert pad_channels.apply(graph).tensors["d"].shape[3] == 32
    sketch.value("out", 1, 6, 6, 8, q=(0.1, 0))
    sketch.conv("x", "out", (1, 3, 3, 8), depthwise=True)
    graph = sketch.graph("x", "out", "y")
    assert pad_channels.apply(graph).tensors["out"].shape[3] == 8


def test_both_together_reach_the_depthwise_layer_behind_the_first_convolution(
    sketch: Any, execute: Any, feed: Any
) -> None:
    sketch.value("x", 1, 8, 8, 3, q=(1 / 127.5, -1))
    sketch.value("a", 1, 4, 4, 8, q=(0.02, -128))
    sketch.value("d", 1, 4, 4, 8, q=(0.03, 0))
    sketch.value("y", 1, 4, 4, 4, q=(0.05, 0))
    sketch.conv("x", "a", (8, 3, 3, 3), activation="RELU", **_STRIDES)
    sketch.conv("a", "d", (1, 3, 3, 8), depthwise=True)
    sketch.conv("d", "y", (4, 1, 1, 8))
    graph = sketch.graph("x", "y")
    rewritten = run_passes(graph, ("pad-channels", "quad-columns"))
    assert rewritten.tensors["d"].shape[3] == 16
    assert np.array_equal(execute(graph, feed(graph))[0], execute(rewritten, feed(graph))[0])


@pytest.mark.parametrize("gate_first", [False, True])
def test_a_gate_is_repeated_along_the_row(sketch: Any, gate_first: bool, execute: Any, feed: Any) -> None:
    sketch.value("x", 1, 16, 20, 8, q=(0.03, 1))
    sketch.value("m", 1, 1, 1, 8, q=(0.03, 1))
    sketch.value("y", 1, 16, 20, 8, q=(0.2, 0))
    sketch.constant("axes", np.array([1, 2], np.int32))
    sketch.op("MEAN", ("x", "axes"), "m", keep_dims=True)
    sketch.op("MUL", ("m", "x") if gate_first else ("x", "m"), "y", activation="NONE")
    graph = sketch.graph("x", "y")
    tiled = tile_gate.apply(graph)
    assert [op.kind for op in tiled.ops] == ["MEAN", "TILE", "MUL"]
    assert np.array_equal(execute(graph, feed(graph))[0], execute(tiled, feed(graph))[0])


def test_a_gate_of_many_channels_stays(sketch: Any) -> None:
    sketch.value("x", 1, 16, 20, 96, q=(0.03, 1))
    sketch.value("m", 1, 1, 1, 96, q=(0.03, 1))
    sketch.value("y", 1, 16, 20, 96, q=(0.2, 0))
    sketch.constant("axes", np.array([1, 2], np.int32))
    sketch.op("MEAN", ("x", "axes"), "m", keep_dims=True)
    sketch.op("MUL", ("x", "m"), "y", activation="NONE")
    assert [op.kind for op in tile_gate.apply(sketch.graph("x", "y")).ops] == ["MEAN", "MUL"]
