"""ONNX's ops that work value by value: activations, arithmetic, Clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.formats._onnx_values import NO_ACTIVATION, Held, Known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnedge.formats._onnx_values import Handler, Node, Order, Reading, Value
    from mnedge.graph.graph import Options

# `fuse_patterns` makes it of x * (1 + erf(x / sqrt 2)) / 2; no op of TFLite's is the error function alone.
ERF = "ERF"

_SAME = 1e-6


def _unary(kind: str, options: Callable[[Node], Options] | None = None) -> Handler:
    def handler(reading: Reading, node: Node) -> Sequence[Value]:
        value = reading.held(node, 0)
        told = {} if options is None else options(node)
        shape = reading.tensors[value.name].shape
        return [reading.like(value, reading.emit(node, kind, (value.name,), node.outputs[0], told, shape=shape)[0])]

    return handler


def _chain(reading: Reading, node: Node, value: Held, *steps: tuple[str, float | None]) -> Held:
    """The value after ops that each take it, and a number where one is told; the last has the node's name."""
    name, shape = value.name, reading.tensors[value.name].shape
    steps = tuple(step for step in steps if step not in (("MUL", 1.0), ("ADD", 0.0)))
    for place, (kind, number) in enumerate(steps):
        is_last = place == len(steps) - 1
        wish = node.outputs[0] if is_last else reading.fresh(f"{node.outputs[0]}/{kind.lower()}")
        inputs = [name]
        if number is not None:
            inputs.append(reading.fixed(np.array(number, np.float32), f"{wish}/number"))
        options = NO_ACTIVATION if kind in ("ADD", "DIV", "MUL", "SUB") else {}
        name = reading.emit(node, kind, inputs, wish, options, shape=shape)[0]
    return reading.like(value, name)


def _limits(reading: Reading, node: Node) -> tuple[float, float]:
    if reading.opset < 11:
        return node.real("min", -float(np.finfo(np.float32).max)), node.real("max", float(np.finfo(np.float32).max))
    found = [reading.known(node, place) for place in (1, 2)]
    if any(item is not None and item.size != 1 for item in found):
        node.damaged("a limit is no single number")
    low, high = (None if item is None else float(item.ravel()[0]) for item in found)
    return -np.inf if low is None else low, np.inf if high is None else high


def _clip(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    low, high = _limits(reading, node)
    if not low <= high:
        node.damaged(f"its limits are {low:g} and {high:g}")
    largest = float(np.finfo(np.float32).max)
    low, high = -np.inf if low <= -largest else low, np.inf if high >= largest else high
    if (low, high) == (0.0, np.inf):
        return [_chain(reading, node, value, ("RELU", None))]
    if (low, high) == (-1.0, 1.0):
        return [_chain(reading, node, value, ("RELU_N1_TO_1", None))]
    if low == 0.0 and high > 0:
        # min(max(x, 0), h) = relu6(6 x / h) h / 6; convolutions take the factors.
        factor = 6.0 / high
        return [_chain(reading, node, value, ("MUL", factor), ("RELU6", None), ("MUL", 1 / factor))]
    steps = [("MAXIMUM", low)] * bool(np.isfinite(low)) + [("MINIMUM", high)] * bool(np.isfinite(high))
    return [_chain(reading, node, value, *steps)] if steps else [value]


def _hard_sigmoid(reading: Reading, node: Node) -> Sequence[Value]:
    """max(0, min(1, a x + b)) as relu6(6 a x + 6 b) / 6: the form that convolutions and hard-swish take in."""
    value = reading.held(node, 0)
    alpha, beta = node.real("alpha", 0.2), node.real("beta", 0.5)
    factor = 1.0 if abs(6 * alpha - 1) < _SAME else 6 * alpha
    sixth = 1 / 6
    return [_chain(reading, node, value, ("MUL", factor), ("ADD", 6 * beta), ("RELU6", None), ("MUL", sixth))]


def _elu(reading: Reading, node: Node) -> Sequence[Value]:
    if abs(node.real("alpha", 1.0) - 1) > _SAME:
        node.refuse(f"its alpha is {node.real('alpha', 1.0):g}", "TFLite's ELU has 1; export the model with that")
    return _unary("ELU")(reading, node)


def _gelu_options(node: Node) -> dict[str, object]:
    return {"approximate": node.text("approximate", "none") == "tanh"}


def _reciprocal(reading: Reading, node: Node) -> Sequence[Value]:
    value = reading.held(node, 0)
    one = reading.fixed(np.array(1.0, np.float32), f"{node.outputs[0]}/one")
    shape = reading.tensors[value.name].shape
    made = reading.emit(node, "DIV", (one, value.name), node.outputs[0], NO_ACTIVATION, shape=shape)
    return [reading.like(value, made[0])]


def _binary(kind: str) -> Handler:
    def handler(reading: Reading, node: Node) -> Sequence[Value]:
        if len(node.inputs) != 2:
            node.damaged(f"it has {len(node.inputs)} inputs; two are allowed")
        return [binary(reading, node, kind, reading.value(node, 0), reading.value(node, 1), node.outputs[0])]

    return handler


def _several(kind: str) -> Handler:
    """Sum, Max and Min of any number of values."""

    def handler(reading: Reading, node: Node) -> Sequence[Value]:
        values = [reading.value(node, place) for place in range(len(node.inputs))]
        made = values[0]
        for place, other in enumerate(values[1:], 2):
            name = node.outputs[0] if place == len(values) else reading.fresh(f"{node.outputs[0]}/of_{place}")
            made = binary(reading, node, kind, made, other, name)
        return [made]

    return handler


def binary(reading: Reading, node: Node, kind: str, one: Value, other: Value, name: str) -> Held:
    """Emits an op of two values that broadcast, axes of both in one order."""
    options = NO_ACTIVATION if kind in ("ADD", "DIV", "MUL", "SUB") else {}
    rank = max(len(one.shape), len(other.shape))
    try:
        np.broadcast_shapes(one.shape, other.shape)
    except ValueError:
        node.damaged(f"the shapes {one.shape} and {other.shape} do not broadcast")
    sides = [side for side in (one, other) if isinstance(side, Held)]
    scalars = [side for side in (one, other) if isinstance(side, Known) and side.array.size == 1]
    if len(sides) == 1 and sides[0].mixed and scalars:
        shape = reading.tensors[sides[0].name].shape
        names = [item.name if isinstance(item, Held) else reading.fixed(item.real().reshape(()), f"{name}/number")
                 for item in (one, other)]  # fmt: skip
        return reading.like(sides[0], reading.emit(node, kind, names, name, options, shape=shape)[0])
    if len(sides) == 2 and sides[0].mixed and sides[0].mixed == sides[1].mixed:
        names = [sides[0].name, sides[1].name]
        return reading.like(sides[0], reading.emit(node, kind, names, name, options)[0])
    raised = [_of_rank(reading, node, side, rank) for side in (one, other)]
    order = _common(raised)
    names = []
    for place, side in enumerate(raised):
        if isinstance(side, Held):
            names.append(reading.ordered(node, side, order))
        else:
            names.append(reading.operand(side, order, f"{name}/{'ab'[place]}"))
    return reading.make(node, kind, names, order, options, name=name)


def _of_rank(reading: Reading, node: Node, value: Value, rank: int) -> Value:
    """An activation with axes of extent 1 in front, as broadcasting adds them."""
    if isinstance(value, Known):
        return value
    value = reading.unmixed(node, value)
    missing = rank - value.rank
    if not missing:
        return value
    order = (*range(missing), *(axis + missing for axis in value.order))
    shape = (*(1,) * missing, *value.shape)
    return Held(reading.reshaped(node, value.name, tuple(shape[axis] for axis in order)), shape, order)


def _common(values: Sequence[Value]) -> Order:
    """The order of the largest activation: the other one is cheaper to turn."""
    held = [value for value in values if isinstance(value, Held)]
    return max(held, key=lambda value: int(np.prod(value.shape))).order


def _pow(reading: Reading, node: Node) -> Sequence[Value]:
    value, power = reading.held(node, 0), reading.known(node, 1)
    if power is not None and power.size == 1:
        number = float(power.ravel()[0])
        if number == 2.0:
            shape = reading.tensors[value.name].shape
            made = reading.emit(node, "MUL", (value.name, value.name), node.outputs[0], NO_ACTIVATION, shape=shape)
            return [reading.like(value, made[0])]
        if number in (0.5, 1.0):
            return [_chain(reading, node, value, ("SQRT", None))] if number < 1 else [value]
    return [binary(reading, node, "POW", value, reading.value(node, 1), node.outputs[0])]


def _prelu(reading: Reading, node: Node) -> Sequence[Value]:
    value, slope = reading.held(node, 0), reading.known(node, 1)
    value = reading.unmixed(node, value)
    assert slope is not None
    laid = reading.laid(slope.astype(np.float32), value.order)
    # TFLite's slope has every dimension but the batch.
    laid = laid.reshape((1,) * (value.rank - 1 - laid.ndim) + laid.shape)
    name = reading.fixed(laid, node.inputs[1])
    return [reading.make(node, "PRELU", (value.name, name), value.order)]


def _same(reading: Reading, node: Node) -> Sequence[Value]:
    return [reading.value(node, 0)]


def _cast(reading: Reading, node: Node) -> Sequence[Value]:
    import onnx

    from mnedge.formats.tflite_schema import DTYPE_CODES

    value, wanted = reading.held(node, 0), node.whole("to", 1)
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)
    dtype = reading.tensors[value.name].dtype
    if wanted in floats and dtype == "float32":
        return [value]
    targets = {onnx.TensorProto.INT32: "int32", onnx.TensorProto.INT64: "int64", onnx.TensorProto.UINT8: "uint8"}
    target = "float32" if wanted in floats else targets.get(wanted)
    if target is None:
        node.refuse(f"it casts to type {wanted}", f"float32 and {', '.join(targets.values())} are read")
    options = {"in_data_type": DTYPE_CODES[dtype], "out_data_type": DTYPE_CODES[target]}
    shape = reading.tensors[value.name].shape
    made = reading.emit(node, "CAST", (value.name,), node.outputs[0], options, shape=shape, dtype=target)
    return [reading.like(value, made[0])]


ELEMENTWISE: Mapping[str, Handler] = {
    "Abs": _unary("ABS"),
    "Add": _binary("ADD"),
    "Cast": _cast,
    "Ceil": _unary("CEIL"),
    "Clip": _clip,
    "Cos": _unary("COS"),
    "Div": _binary("DIV"),
    "Dropout": _same,
    "Elu": _elu,
    "Erf": _unary(ERF),
    "Exp": _unary("EXP"),
    "Floor": _unary("FLOOR"),
    "Gelu": _unary("GELU", _gelu_options),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary("HARD_SWISH"),
    "Identity": _same,
    "LeakyRelu": _unary("LEAKY_RELU", lambda node: {"alpha": node.real("alpha", 0.01)}),
    "Log": _unary("LOG"),
    "Max": _several("MAXIMUM"),
    "Min": _several("MINIMUM"),
    "Mul": _binary("MUL"),
    "Neg": _unary("NEG"),
    "PRelu": _prelu,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Relu": _unary("RELU"),
    "Round": _unary("ROUND"),
    "Sigmoid": _unary("LOGISTIC"),
    "Sin": _unary("SIN"),
    "Sqrt": _unary("SQRT"),
    "Sub": _binary("SUB"),
    "Sum": _several("ADD"),
    "Tanh": _unary("TANH"),
    "com.microsoft.Gelu": _unary("GELU"),
}
