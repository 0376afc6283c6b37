"""ONNX's ops that work along axes: reductions, softmax, and the place of the largest value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_shaping import axes_of, axis_of, reshape
from mnedge.formats._onnx_values import NO_ACTIVATION, Held

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnedge.formats._onnx_values import Handler, Node, Reading, Value


def _reduction(kind: str, since: int) -> Handler:
    """A reduction; its axes are an input from an opset on."""

    def handler(reading: Reading, node: Node) -> Sequence[Value]:
        value = reading.unmixed(node, reading.held(node, 0))
        axes = axes_of(reading, node, value.rank, since)
        if not axes:
            if node.whole("noop_with_empty_axes", 0):
                return [value]
            axes = tuple(range(value.rank))
        return [reduced(reading, node, kind, value, axes, bool(node.whole("keepdims", 1)), node.outputs[0])]

    return handler


def reduced(
    reading: Reading, node: Node, kind: str, value: Held, axes: Sequence[int], keeps: bool, name: str
) -> Held:  # fmt: skip
    """A value reduced along some of ONNX's axes."""
    places = reading.fixed(np.array(sorted(value.place(axis) for axis in axes), np.int32), f"{name}/axes")
    order = value.order
    if not keeps:
        left = [axis for axis in range(value.rank) if axis not in axes]
        order = tuple(left.index(axis) for axis in value.order if axis in left)
    return reading.make(node, kind, (value.name, places), order, {"keep_dims": keeps}, name=name)


def _length(reading: Reading, node: Node) -> Sequence[Value]:
    """ReduceL2: the root of the sum of squares."""
    value = reading.unmixed(node, reading.held(node, 0))
    axes = axes_of(reading, node, value.rank, 18) or tuple(range(value.rank))
    name = node.outputs[0]
    wish = reading.fresh(f"{name}/square")
    square = reading.make(node, "MUL", (value.name, value.name), value.order, NO_ACTIVATION, name=wish)
    keeps = bool(node.whole("keepdims", 1))
    total = reduced(reading, node, "SUM", square, axes, keeps, reading.fresh(f"{name}/sum"))
    return [reading.make(node, "SQRT", (total.name,), total.order)]


def _global(kind: str) -> Handler:
    def handler(reading: Reading, node: Node) -> Sequence[Value]:
        value = reading.unmixed(node, reading.held(node, 0))
        if value.rank < 3:
            node.damaged(f"its input has the shape {value.shape}")
        return [reduced(reading, node, kind, value, range(2, value.rank), keeps=True, name=node.outputs[0])]

    return handler


def _last(kind: str) -> Handler:
    """An op along the last dimension of a tensor."""

    def handler(reading: Reading, node: Node) -> Sequence[Value]:
        value = reading.unmixed(node, reading.held(node, 0))
        axis = axis_of(node, value.rank, -1 if reading.opset >= 13 or kind == "L2_NORMALIZATION" else 1)
        if kind == "L2_NORMALIZATION" and node.whole("p", 2) != 2:
            node.refuse(f"its p is {node.whole('p', 2)}", "2 is read; export the model with that")
        if reading.opset < 13 and kind != "L2_NORMALIZATION" and math.prod(value.shape[axis + 1 :]) > 1:
            node.refuse(f"it joins all axes from {axis} on, as operators before opset 13 do", "Export it with opset 13")
        if value.order[-1] != axis:
            order = (*(place for place in value.order if place != axis), axis)
            value = reading.hold(reading.ordered(node, value, order), order)
        every: dict[str, dict[str, object]] = {"SOFTMAX": {"beta": 1.0}, "L2_NORMALIZATION": {**NO_ACTIVATION}}
        options = every.get(kind, {})
        return [reading.make(node, kind, (value.name,), value.order, options)]

    return handler


def _arg_max(reading: Reading, node: Node) -> Sequence[Value]:
    from mnedge.formats._tflite_schema import DTYPE_CODES

    value = reading.unmixed(node, reading.held(node, 0))
    axis = axis_of(node, value.rank, 0)
    if node.whole("select_last_index", 0):
        node.refuse("it takes the last of equal values", "TFLite's ARG_MAX takes the first; export it like that")
    place = reading.fixed(np.array(value.place(axis), np.int32), f"{node.outputs[0]}/axis")
    left = [item for item in range(value.rank) if item != axis]
    order = tuple(left.index(item) for item in value.order if item != axis)
    options = {"output_type": DTYPE_CODES["int64"]}
    kind = "ARG_MAX" if node.kind == "ArgMax" else "ARG_MIN"
    made = reading.make(node, kind, (value.name, place), order, options, dtype="int64")
    if not node.whole("keepdims", 1):
        return [made]
    return [reshape(reading, node, made, (*value.shape[:axis], 1, *value.shape[axis + 1 :]))]


REDUCTIONS: Mapping[str, Handler] = {
    "ArgMax": _arg_max,
    "ArgMin": _arg_max,
    "GlobalAveragePool": _global("MEAN"),
    "GlobalMaxPool": _global("REDUCE_MAX"),
    "LogSoftmax": _last("LOG_SOFTMAX"),
    "LpNormalization": _last("L2_NORMALIZATION"),
    "ReduceL2": _length,
    "ReduceMax": _reduction("REDUCE_MAX", 18),
    "ReduceMean": _reduction("MEAN", 18),
    "ReduceMin": _reduction("REDUCE_MIN", 18),
    "ReduceSum": _reduction("SUM", 13),
    "Softmax": _last("SOFTMAX"),
}
