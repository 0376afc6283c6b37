""".onnx to Graph: NCHW becomes NHWC without moving anything inside; nothing in the file is trusted.

Nodes become ops one by one, in the order of the file. An activation knows where ONNX's axes lie in its tensor, so a
Transpose moves nothing, and neither does a Reshape that splits or joins axes as they lie.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import InputError, UnsupportedError
from mnedge.formats._onnx_constants import array_of, constant_of, folded
from mnedge.formats._onnx_elementwise import ELEMENTWISE, ERF
from mnedge.formats._onnx_layers import LAYERS
from mnedge.formats._onnx_padding import PADDING
from mnedge.formats._onnx_patterns import fuse_patterns
from mnedge.formats._onnx_pooling import POOLING
from mnedge.formats._onnx_qoperators import in_reals
from mnedge.formats._onnx_quantized import QUANTIZED
from mnedge.formats._onnx_reductions import REDUCTIONS
from mnedge.formats._onnx_resize import RESIZE
from mnedge.formats._onnx_shaping import SHAPING
from mnedge.formats._onnx_values import NHWC, Known, Node, Reading
from mnedge.formats.onnx_file import load_onnx
from mnedge.graph.check import check_graph
from mnedge.graph.dead import without_dead
from mnedge.graph.graph import Graph, Op, Tensor, fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import onnx
    from onnx import GraphProto

    from mnedge.formats._onnx_values import Handler, Order, Shape, Value
    from mnedge.formats.onnx_file import OnnxFile

HANDLERS: Mapping[str, Handler] = {
    **ELEMENTWISE,
    **LAYERS,
    **PADDING,
    **POOLING,
    **QUANTIZED,
    **RESIZE,
    **REDUCTIONS,
    **SHAPING,
}

_CHANNELS = (1, 3, 4)
_PICTURE_RANK = 4
# Ops that may stand between an input and the Transpose that shows its layout.
_PASSING = ("Add", "Cast", "DequantizeLinear", "Div", "Identity", "Mul", "QuantizeLinear", "Sub")


@dataclass(frozen=True)
class OnnxInput:
    """An input of a model.

    Attributes:
        name: Name in the file.
        shape: As a Graph has it, pictures in NHWC; -1 where the file leaves an extent open.
        dtype: dtype of the graph's input.
        order: The graph's dimension j is ONNX's axis order[j].
    """

    name: str
    shape: Shape
    dtype: str
    order: Order


def read_onnx(path: Path) -> Graph:
    """Reads a float, QDQ or QOperator .onnx whose inputs leave at most the batch open, which becomes 1.

    Raises:
        InputError: No such file, damage, or extents that are open.
        UnsupportedError: It holds what no Graph holds; the message names node and way out.
    """
    file = load_onnx(path)
    shapes = []
    for entry in inputs_of(file):
        shape = (1, *entry.shape[1:]) if entry.shape[:1] == (-1,) else entry.shape
        if -1 in shape:
            raise InputError(f"input {entry.name} of {path} leaves its shape open {entry.shape}; give its size")
        shapes.append(shape)
    return graph_of(file, shapes)[0]


def _type_name(kind: int) -> str:
    """Returns the name of a tensor's type; its number if the type is unknown."""
    import onnx

    known = onnx.TensorProto.DataType
    return str(known.Name(kind)) if kind in known.values() else str(kind)


def inputs_of(file: OnnxFile) -> list[OnnxInput]:
    """The inputs of a model, pictures as NHWC.

    Raises:
        UnsupportedError: An input is no tensor, has no known rank, or values of a kind that no Graph has.
    """
    import onnx

    types = {
        onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.FLOAT16: "float32", onnx.TensorProto.DOUBLE: "float32",
        onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.INT8: "int8", onnx.TensorProto.INT32: "int32",
        onnx.TensorProto.INT64: "int64",
    }  # fmt: skip
    constants = {item.name for item in file.model.graph.initializer}
    found = []
    for item in file.model.graph.input:
        if item.name in constants:
            continue
        if not item.type.HasField("tensor_type") or not item.type.tensor_type.HasField("shape"):
            raise UnsupportedError(
                f"input {item.name} of {file.source} is no tensor of a known rank; export the model with a fixed shape"
            )
        kind = item.type.tensor_type.elem_type
        if kind not in types:
            raise UnsupportedError(
                f"input {item.name} of {file.source} has the type {_type_name(kind)}; float, "
                "uint8, int8, int32 and int64 are read"
            )
        dims = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else -1
                for dim in item.type.tensor_type.shape.dim]  # fmt: skip
        order = _order_of_input(file.model.graph, item.name, dims)
        found.append(OnnxInput(item.name, tuple(dims[axis] for axis in order), types[kind], order))
    return found


def _order_of_input(body: onnx.GraphProto, name: str, dims: Sequence[int]) -> Order:
    """Returns the layout of an input in the graph: a picture as NHWC, whether ONNX has it so or as NCHW."""
    order = tuple(range(len(dims)))
    if len(dims) != _PICTURE_RANK:
        return order
    first, last = dims[1] in _CHANNELS, dims[3] in _CHANNELS
    if first != last:
        return NHWC if first else order
    # Both or none: what reads it shows it.
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in body.node:
        for item in node.input:
            readers.setdefault(item, []).append(node)
    while len(readers.get(name, [])) == 1 and readers[name][0].op_type in _PASSING:
        name = readers[name][0].output[0]
    told = [tuple(attribute.ints) for node in readers.get(name, []) if node.op_type == "Transpose"
            for attribute in node.attribute if attribute.name == "perm"]  # fmt: skip
    return order if (0, 3, 1, 2) in told else NHWC


def graph_of(file: OnnxFile, shapes: Sequence[Shape]) -> tuple[Graph, tuple[str, ...]]:
    """The graph of a model.

    Args:
        file: The model.
        shapes: Shapes of the inputs, as `inputs_of` orders them; every extent known.

    Returns:
        The graph, and what reading it changed, a sentence each.

    Raises:
        InputError: The model is damaged.
        UnsupportedError: It holds what no Graph holds; the message names node and way out.
    """
    reading = Reading(file.source, file.opset)
    body = file.model.graph
    inputs = inputs_of(file)
    reading.reserved = {name for node in body.node for name in node.output} | {entry.name for entry in inputs}
    for entry, shape in zip(inputs, shapes, strict=True):
        reading.tensors[entry.name] = Tensor(entry.name, tuple(shape), entry.dtype)
        reading.values[entry.name] = reading.hold(entry.name, entry.order)
        if entry.order == NHWC:
            reading.notes.append(f"Input {entry.name} is NCHW in the .onnx and NHWC here")
    _initialize(reading, body)
    _walk(reading, body.node)
    outputs = [_output(reading, body, place) for place in range(len(body.output))]
    graph = Graph(reading.tensors, tuple(reading.ops), tuple(entry.name for entry in inputs), tuple(outputs)).replaced()
    graph = without_dead(fuse_patterns(_named(graph, [item.name for item in body.output])))
    left = next((op for op in graph.ops if op.kind == ERF), None)
    if left is not None:
        raise UnsupportedError(
            f"{file.source}: the node that makes {left.outputs[0]} (Erf) is no part of a GELU, and TFLite has no error "
            "function; export the model with another activation"
        )
    return check_graph(graph, file.source), tuple(reading.notes)


def _initialize(reading: Reading, body: onnx.GraphProto) -> None:
    nowhere = Node("initializer", body.name or "graph", (), (), {}, reading.source)
    if body.sparse_initializer:
        nowhere.refuse("it has sparse weights", "Export the model without sparsity")
    for item in body.initializer:
        reading.values[item.name] = Known(array_of(nowhere, item))


def _walk(reading: Reading, nodes: Iterable[onnx.NodeProto]) -> None:
    """Reads nodes in order."""
    for message in nodes:
        node = _node(message, reading.source)
        if node.kind == "If":
            _branch(reading, node)
            continue
        parts = in_reals(reading, node, message)
        if parts is not None:
            _walk(reading, parts)
            continue
        made = _made(reading, node, message)
        for name, value in zip(node.outputs, made, strict=False):
            if name:
                reading.values[name] = value


def _node(message: onnx.NodeProto, source: str) -> Node:
    from onnx import helper

    kind = message.op_type if message.domain in ("", "ai.onnx") else f"{message.domain}.{message.op_type}"
    outputs = tuple(message.output)
    node = Node(kind, message.name or (outputs[0] if outputs else kind), tuple(message.input), outputs, {}, source)
    if not outputs:
        node.damaged("it makes nothing")
    try:
        attributes = {item.name: helper.get_attribute_value(item) for item in message.attribute}
    except ValueError as exc:
        node.damaged(f"an attribute cannot be read ({exc})")
    return replace(node, attributes=attributes)


def _made(reading: Reading, node: Node, message: onnx.NodeProto) -> Sequence[Value]:
    if node.kind == "Constant":
        return [constant_of(node)]
    values = [reading.optional(node, place) for place in range(len(node.inputs))]
    known = [value for value in values if value is not None]
    if node.kind not in QUANTIZED and all(isinstance(value, Known) for value in known):
        if "." in node.kind:
            node.refuse("it computes with constants in an op that is not ONNX's own", "Export the model without it")
        return folded(reading, node, message)
    handler = HANDLERS.get(node.kind)
    if handler is None:
        node.refuse(
            f"{node.kind} has no form here (it makes {node.outputs[0][:80]})",
            f"Export the model without it; mnedge reads {', '.join(sorted(HANDLERS))}",
        )
    return handler(reading, node)


def _branch(reading: Reading, node: Node) -> None:
    """An If whose condition is known is the branch that it takes."""
    condition = reading.known(node, 0)
    if condition is None or condition.size != 1:
        node.damaged("its condition is no single value")
    body: GraphProto | None = node.attributes.get("then_branch" if bool(condition.ravel()[0]) else "else_branch")
    if body is None or len(body.output) != len(node.outputs):
        node.damaged("a branch does not make what the node makes")
    _initialize(reading, body)
    _walk(reading, body.node)
    for name, item in zip(node.outputs, body.output, strict=True):
        if item.name not in reading.values:
            node.damaged(f"a branch does not make {item.name[:80]}")
        reading.values[name] = reading.values[item.name]


def _output(reading: Reading, body: onnx.GraphProto, place: int) -> str:
    """The tensor of an output: a picture stays NHWC, all else lies as ONNX has it."""
    name = body.output[place].name
    end = Node("output", name, (name,), (name,), {}, reading.source)
    value = reading.value(end, 0)
    if isinstance(value, Known):
        end.refuse("it does not depend on the input", "Export the model without this output")
    if value.rank == _PICTURE_RANK and value.order == NHWC and min(value.shape[1:]) > 0:
        if value.shape[2] * value.shape[3] > 1:
            reading.notes.append(f"Output {name} is NCHW in the .onnx and NHWC here")
        return value.name
    return reading.plain(end, value)


def _named(graph: Graph, wishes: Sequence[str]) -> Graph:
    """The graph whose outputs have the names that the file gives them."""
    names: dict[str, str] = {}
    ops, tensors = list(graph.ops), dict(graph.tensors)
    outputs = []
    for name, wish in zip(graph.outputs, wishes, strict=True):
        if name in graph.inputs or name in names or name in outputs:
            # The same values under a second name.
            tensor = tensors[name]
            free = fresh_name(wish, tensors)
            shape = Tensor(fresh_name(f"{free}/shape", tensors), (len(tensor.shape),), "int32", None,
                           np.array(tensor.shape, np.int32))  # fmt: skip
            tensors |= {free: replace(tensor, name=free), shape.name: shape}
            ops.append(Op("RESHAPE", (name, shape.name), (free,), {"new_shape": tensor.shape}))
            outputs.append(free)
        elif name != wish and wish not in tensors:
            names[name] = wish
            outputs.append(name)
        else:
            outputs.append(name)
    made = {names.get(name, name): replace(tensor, name=names.get(name, name)) for name, tensor in tensors.items()}
    renamed = [
        replace(op.with_inputs(names), outputs=tuple(names.get(item, item) for item in op.outputs)) for op in ops
    ]
    return Graph(made, tuple(renamed), graph.inputs, tuple(names.get(name, name) for name in outputs))
