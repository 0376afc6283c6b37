"""Networks with ops that MobileNets do not have, beside the stock converter's full int8 from the same pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.executor import predict
from mnedge.graph.graph import Graph, Op, Tensor
from mnedge.graph.precision import float_ops
from mnedge.passes._pass import run_passes
from mnedge.pixels import SYMMETRIC
from mnedge.quantization.ptq import PostTraining, quantize_ptq
from mnedge.targets.cpu import TARGET

if TYPE_CHECKING:
    from collections.abc import Callable

_SHAPE = (1, 8, 8, 8)


def _unary(kind: str, **options: Any) -> Callable[[Any], Any]:
    return lambda net: net.op(kind, "made", ("c",), _SHAPE, **options)


def _by_constant(kind: str, *values: float, **options: Any) -> Callable[[Any], Any]:
    return lambda net: net.op(kind, "made", ("c", net.constant("k", np.array(values, np.float32))), _SHAPE, **options)


def _reduced(kind: str) -> Callable[[Any], Any]:
    """A gate from what the reduction makes of each channel."""

    def build(net: Any) -> None:
        axes = net.constant("over", np.array([1, 2], np.int32))
        net.op(kind, "reduced", ("c", axes), (1, 1, 1, 8), keep_dims=True)
        scale = net.constant("scale", np.float32(0.05))
        net.op("MUL", "scaled", ("reduced", scale), (1, 1, 1, 8), activation="NONE")
        net.op("LOGISTIC", "gate", ("scaled",), (1, 1, 1, 8))
        net.op("MUL", "made", ("c", "gate"), _SHAPE, activation="NONE")

    return build


def _several(net: Any, kind: str, inputs: tuple[str, ...], shapes: dict[str, tuple[int, ...]], **options: Any) -> None:
    net.tensors |= {name: Tensor(name, shape, "float32") for name, shape in shapes.items()}
    net.ops.append(Op(kind, inputs, tuple(shapes), options))


def _split(net: Any) -> None:
    sizes, axis = net.constant("sizes", np.array([3, 5], np.int32)), net.constant("axis", np.array(3, np.int32))
    _several(net, "SPLIT_V", ("c", sizes, axis), {"one": (1, 8, 8, 3), "two": (1, 8, 8, 5)}, num_splits=2)
    net.op("TANH", "bent", ("one",), (1, 8, 8, 3))
    net.op("CONCATENATION", "made", ("two", "bent"), _SHAPE, axis=3, activation="NONE")


def _gated_half(net: Any) -> None:
    axis = net.constant("axis", np.array(-1, np.int32))
    _several(net, "SPLIT", (axis, "c"), {"one": (1, 8, 8, 4), "two": (1, 8, 8, 4)}, num_splits=2)
    net.op("LOGISTIC", "gate", ("two",), (1, 8, 8, 4)).op("MUL", "made", ("one", "gate"), (1, 8, 8, 4),
                                                          activation="NONE")  # fmt: skip


def _shuffle(net: Any) -> None:
    places = net.constant("places", np.array([0, 4, 1, 5, 2, 6, 3, 7], np.int32))
    net.op("GATHER", "made", ("c", places), _SHAPE, axis=3)


def _pack(net: Any) -> None:
    _several(net, "UNPACK", ("c",), {f"row{place}": (1, 8, 8) for place in range(8)}, axis=1, num=8)
    net.op("PACK", "made", tuple(f"row{place}" for place in reversed(range(8))), _SHAPE, axis=1, values_count=8)


def _enlarge(net: Any) -> None:
    """What UpSampling2D becomes: rows, then columns, repeated."""
    at, small = "c", (8, 8)
    for axis, (rows, columns) in ((2, (16, 8)), (3, (16, 16))):
        five = (1, small[0], 1, small[1], 8) if axis == 2 else (1, 16, 8, 1, 8)
        times = np.where(np.array(five) == 1, 2, 1).astype(np.int32)
        times[0] = 1
        net.op("EXPAND_DIMS", f"e{axis}", (at, net.constant(f"axis{axis}", np.array(axis, np.int32))), five)
        tiled = tuple(int(extent) for extent in np.array(five) * times)
        net.op("TILE", f"t{axis}", (f"e{axis}", net.constant(f"times{axis}", times)), tiled)
        shape = (1, rows, columns, 8)
        at = "made" if axis == 3 else f"r{axis}"
        net.op("RESHAPE", at, (f"t{axis}", net.constant(f"s{axis}", np.array(shape, np.int32))), shape)


def _nearest(net: Any) -> None:
    size = net.constant("size", np.array([16, 16], np.int32))
    net.op("RESIZE_NEAREST_NEIGHBOR", "made", ("c", size), (1, 16, 16, 8), align_corners=False,
           half_pixel_centers=False)  # fmt: skip


def _transposed(net: Any) -> None:
    weights = net.constant("t/w", net.rng.normal(0, 0.2, (8, 3, 3, 8)).astype(np.float32))
    shape = net.constant("t/shape", np.array([1, 16, 16, 8], np.int32))
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "activation": "NONE"}
    net.op("TRANSPOSE_CONV", "made", (shape, weights, "c"), (1, 16, 16, 8), **options)


def _far_from_mean(net: Any) -> None:
    axes = net.constant("over", np.array([1, 2], np.int32))
    net.op("MEAN", "middle", ("c", axes), (1, 1, 1, 8), keep_dims=True)
    net.op("SQUARED_DIFFERENCE", "made", ("c", "middle"), _SHAPE)


def _softsign(net: Any) -> None:
    one = net.constant("one", np.float32(1))
    net.op("ABS", "size", ("c",), _SHAPE).op("ADD", "below", ("size", one), _SHAPE, activation="NONE")
    net.op("DIV", "made", ("c", "below"), _SHAPE, activation="NONE")


def _correlations(net: Any) -> None:
    rows = net.constant("rows", np.array([1, 64, 8], np.int32))
    net.op("RESHAPE", "flat", ("c", rows), (1, 64, 8))
    net.op("BATCH_MATMUL", "pairs", ("flat", "flat"), (1, 64, 64), adj_x=False, adj_y=True)
    scale = net.constant("temper", np.float32(0.2))
    net.op("MUL", "tempered", ("pairs", scale), (1, 64, 64), activation="NONE")
    net.op("SOFTMAX", "shares", ("tempered",), (1, 64, 64), beta=1.0)
    net.op("BATCH_MATMUL", "mixed", ("shares", "flat"), (1, 64, 8), adj_x=False, adj_y=False)
    net.op("RESHAPE", "made", ("mixed", net.constant("picture", np.array(_SHAPE, np.int32))), _SHAPE)


_OPS: dict[str, Callable[[Any], Any]] = {
    "ABS": _unary("ABS"),
    "BATCH_MATMUL": _correlations,
    "DIV": _softsign,
    "DIV by a constant": _by_constant("DIV", 3.7, activation="NONE"),
    "ELU": _unary("ELU"),
    "EXPAND_DIMS": _enlarge,
    "GATHER": _shuffle,
    "GELU": _unary("GELU", approximate=False),
    "GELU by tanh": _unary("GELU", approximate=True),
    "LEAKY_RELU": _unary("LEAKY_RELU", alpha=0.2),
    "MAXIMUM": _by_constant("MAXIMUM", -0.4),
    "MINIMUM": _by_constant("MINIMUM", 0.8),
    "NEG": _unary("NEG"),
    "PACK": _pack,
    "PRELU": _by_constant("PRELU", 0.1, -0.2, 0.3, 0.05, 0.5, 0.25, 0.0, 0.4),
    "REDUCE_MAX": _reduced("REDUCE_MAX"),
    "REDUCE_MIN": _reduced("REDUCE_MIN"),
    "RELU_N1_TO_1": _unary("RELU_N1_TO_1"),
    "RESIZE_NEAREST_NEIGHBOR": _nearest,
    "SPLIT": _gated_half,
    "SPLIT_V": _split,
    "SQUARE": _unary("SQUARE"),
    "SQUARED_DIFFERENCE": _far_from_mean,
    "SUM": _reduced("SUM"),
    "TANH": _unary("TANH"),
    "TRANSPOSE_CONV": _transposed,
}


def _graph(net: Any, name: str) -> Graph:
    made = net(seed=5).conv("c", 8, activation="NONE")
    if name == "PRELU":
        # Slopes of one dimension are more than LiteRT's int8 PRELU takes.
        _OPS[name](made)
        made.tensors["k"] = replace(made.tensors["k"], shape=(1, 1, 8), data=made.tensors["k"].data.reshape(1, 1, 8))
    else:
        _OPS[name](made)
    made.at = "made"
    graph: Graph = made.conv("d", 12, activation="NONE").graph()
    return graph


def _stock(graph: Graph, pictures: Any) -> bytes:
    """The full int8 of TensorFlow's own calibrator and quantizer."""
    import tensorflow as tf
    from tensorflow.lite.python import convert
    from tensorflow.lite.python.optimize import calibrator

    calibrated = calibrator.Calibrator(write_tflite(graph)).calibrate(lambda: ([picture[None]] for picture in pictures))
    made: bytes = convert.mlir_quantize(calibrated, input_data_type=tf.int8, output_data_type=tf.int8)
    return made


def _decibels(reference: Any, made: Any) -> float:
    return float(10 * np.log10(np.sum(reference**2) / np.sum((made - reference) ** 2)))


@pytest.mark.parametrize("name", _OPS)
def test_int8_is_as_near_to_float_as_the_stock_converters(net: Any, images: Any, litert: Any, name: str) -> None:
    graph = _graph(net, name)
    calibration, others = images(48, 1), images(64, 2)
    reference = predict(graph, others)
    ours = quantize_ptq(run_passes(graph, TARGET.passes), calibration, PostTraining(pixels=SYMMETRIC)).graph
    theirs = parse_tflite(_stock(graph, calibration), "stock.tflite")
    assert float_ops(ours) == []
    found, stock = (_decibels(reference, litert(int8, others, delegate=True)) for int8 in (ours, theirs))
    assert found > stock - 0.5
    assert found > 25
