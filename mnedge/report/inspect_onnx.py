"""Content of an .onnx file: ops, dtypes, sizes, multiply-adds, in the words of `inspect_tflite`."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from mnedge.errors import InputError
from mnedge.results.inspection import Contents, EndRow, KindRow, TensorRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

    Constants = Mapping[str, TensorProto]
    Shapes = Mapping[str, tuple[tuple[int, ...], str]]

_LARGEST = 5
# Where the weights of an op stand among its inputs.
_WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "QLinearConv": 3, "QLinearMatMul": 3}


def inspect_onnx(path: Path) -> Contents:
    """Counts an .onnx file as it is stored, before any runtime's rewriting; op kinds are ONNX's.

    Raises:
        InputError: The file cannot be read or is no ONNX model.
    """
    model = _load(path)
    graph = model.graph
    shapes = _shapes(model)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    rows = _op_rows(graph, constants, shapes)
    by_dtype: Counter[str] = Counter()
    for tensor in constants.values():
        by_dtype[_dtype(tensor.data_type)] += _bytes(tuple(tensor.dims), _dtype(tensor.data_type))
    stored = _stored(graph, constants)
    activations = [(name, *shape_and_dtype) for name, shape_and_dtype in shapes.items() if name not in stored]
    weights = [(name, tuple(tensor.dims), _dtype(tensor.data_type)) for name, tensor in constants.items()]
    inputs = [value.name for value in graph.input if value.name not in constants]
    return Contents(
        ops=rows,
        op_count=len(graph.node),
        macs=sum(row.macs for row in rows),
        parameters=_parameters(graph, constants),
        weights_bytes=sum(by_dtype.values()),
        weights_bytes_by_dtype=dict(by_dtype.most_common()),
        inputs=tuple(_end(graph, constants, name, shapes) for name in inputs),
        outputs=tuple(_end(graph, constants, value.name, shapes) for value in graph.output),
        largest_weights=_largest(weights),
        largest_activations=_largest(activations),
        metadata={
            "opset": ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import),
            "producer": f"{model.producer_name} {model.producer_version}".strip(),
            **{entry.key: entry.value for entry in model.metadata_props},
        },
    )


def _load(path: Path) -> ModelProto:
    import onnx

    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except Exception as exc:
        # Protobuf's own errors have no public base that every version shares.
        if not (isinstance(exc, (onnx.checker.ValidationError, ValueError)) or type(exc).__name__ == "DecodeError"):
            raise
        first_line = str(exc).strip().splitlines()[0]
        raise InputError(f"{path} is not an ONNX model, or is cut short or damaged ({first_line})") from exc
    return model


def _shapes(model: ModelProto) -> Shapes:
    """Shape and dtype of every value that shape inference can tell; an open dimension counts as 1."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        extents = tuple(dim.dim_value or 1 for dim in kind.shape.dim)
        shapes[value.name] = (extents, _dtype(kind.elem_type))
    return shapes


def _op_rows(graph: GraphProto, constants: Constants, shapes: Shapes) -> tuple[KindRow, ...]:
    by_kind: dict[str, list[NodeProto]] = {}
    weights_bytes: Counter[str] = Counter()
    counted: set[str] = set()
    stored = _stored(graph, constants)
    for node in graph.node:
        by_kind.setdefault(node.op_type, []).append(node)
        for name in node.input:
            if name in constants and name not in counted:
                counted.add(name)
                tensor = constants[name]
                weights_bytes[node.op_type] += _bytes(tuple(tensor.dims), _dtype(tensor.data_type))
    rows = []
    for kind, nodes in by_kind.items():
        dtypes = Counter(shapes.get(node.output[0], ((), "?"))[1] for node in nodes)
        macs = sum(_macs(node, stored, shapes) for node in nodes)
        names = tuple(dtype for dtype, _ in dtypes.most_common())
        rows.append(KindRow(kind, len(nodes), names, macs, weights_bytes[kind]))
    return tuple(sorted(rows, key=lambda row: (-row.macs, -row.count, row.kind)))


def _stored(graph: GraphProto, constants: Constants) -> Constants:
    """The initializer behind each name, also through a DequantizeLinear (QDQ keeps int8 weights there)."""
    stored = dict(constants)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            stored[node.output[0]] = constants[node.input[0]]
    return stored


def _macs(node: NodeProto, stored: Constants, shapes: Shapes) -> int:
    place = _WEIGHTED.get(node.op_type)
    weights = stored.get(node.input[place]) if place is not None and place < len(node.input) else None
    if weights is None or node.output[0] not in shapes:
        return 0
    extents = tuple(weights.dims)
    output, _ = shapes[node.output[0]]
    if node.op_type in ("Conv", "QLinearConv"):
        return int(math.prod(output) * math.prod(extents[1:]))
    if node.op_type == "ConvTranspose":
        data, _ = shapes.get(node.input[0], ((), ""))
        return math.prod((data[0], *data[2:])) * math.prod(extents) if data else 0
    # A matrix product: each output row uses every weight once.
    return int(math.prod(output[:-1]) * math.prod(extents))


def _parameters(graph: GraphProto, constants: Constants) -> int:
    stored = _stored(graph, constants)
    names: set[str] = set()
    for node in graph.node:
        place = _WEIGHTED.get(node.op_type)
        if place is None:
            continue
        bias = 8 if node.op_type == "QLinearConv" else place + 1 if place == 1 else len(node.input)
        names.update(
            stored[node.input[i]].name for i in (place, bias) if i < len(node.input) and node.input[i] in stored
        )
    return sum(math.prod(constants[name].dims) for name in names)


def _end(graph: GraphProto, constants: Constants, name: str, shapes: Shapes) -> EndRow:
    from onnx import numpy_helper

    shape, dtype = shapes[name]
    scale = zero_point = None
    for node in graph.node:
        leads_in = node.op_type == "DequantizeLinear" and node.input[0] == name
        leads_out = node.op_type == "QuantizeLinear" and node.output[0] == name
        if (leads_in or leads_out) and node.input[1] in constants:
            scale = float(numpy_helper.to_array(constants[node.input[1]]).flat[0])
            given = len(node.input) > 2 and node.input[2] in constants
            zero_point = int(numpy_helper.to_array(constants[node.input[2]]).flat[0]) if given else 0
    return EndRow(name, shape, dtype, scale, zero_point)


def _largest(tensors: list[tuple[str, tuple[int, ...], str]]) -> tuple[TensorRow, ...]:
    ranked = sorted(tensors, key=lambda item: (-_bytes(item[1], item[2]), item[0]))[:_LARGEST]
    return tuple(TensorRow(name, shape, dtype, _bytes(shape, dtype)) for name, shape, dtype in ranked)


def _dtype(code: int) -> str:
    from onnx import TensorProto

    names = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
    if code not in names and code in TensorProto.DataType.values():
        return str(TensorProto.DataType.Name(code)).lower()
    return names.get(code, f"type {code}")


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    import numpy as np

    try:
        return math.prod(shape) * np.dtype(dtype).itemsize
    except TypeError:
        # Strings and packed types have no fixed size.
        return 0
