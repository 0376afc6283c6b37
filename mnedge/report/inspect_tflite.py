"""Content of a Graph read from a .tflite: ops, dtypes, sizes, multiply-adds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mnedge.formats.custom_options import decode_custom_options, detection_shapes
from mnedge.graph.macs import graph_parameters, op_macs
from mnedge.graph.memory import tensor_bytes
from mnedge.results.inspection import Contents, CustomOp, EndRow, KindRow, TensorRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnedge.graph.graph import Graph, Op, Tensor

_LARGEST = 5


def inspect_graph(graph: Graph) -> Contents:
    """Counts a graph."""
    weights = [tensor for tensor in graph.tensors.values() if tensor.is_constant]
    activations = [tensor for tensor in graph.tensors.values() if not tensor.is_constant]
    by_dtype: Counter[str] = Counter()
    for tensor in weights:
        by_dtype[tensor.stored_dtype] += tensor_bytes(tensor)
    rows = _op_rows(graph)
    custom = [op for op in graph.ops if "custom_options" in op.options]
    shapes = {name: shape for op in custom for name, shape in _shapes_when_run(op).items()}
    return Contents(
        ops=rows,
        op_count=len(graph.ops),
        macs=sum(row.macs for row in rows),
        parameters=graph_parameters(graph),
        weights_bytes=sum(by_dtype.values()),
        weights_bytes_by_dtype=dict(by_dtype.most_common()),
        inputs=tuple(_end(graph.tensors[name], shapes) for name in graph.inputs),
        outputs=tuple(_end(graph.tensors[name], shapes) for name in graph.outputs),
        custom_ops=tuple(
            CustomOp(op.kind, op.inputs, op.outputs, decode_custom_options(op.options["custom_options"]))
            for op in custom
        ),
        largest_weights=_largest(weights),
        largest_activations=_largest(activations),
        metadata={name: _metadata_text(data) for name, data in graph.metadata.items()},
    )


def is_quantized(graph: Graph) -> bool:
    """Returns whether the graph's convolutions and matrix products take integers: an int8 or uint8 model."""
    heavy = [op for op in graph.ops if op_macs(graph, op)]
    integer = [op for op in heavy if graph.tensors[op.outputs[0]].dtype in ("int8", "uint8", "int16")]
    return 2 * len(integer) > len(heavy) > 0


def _op_rows(graph: Graph) -> tuple[KindRow, ...]:
    by_kind: dict[str, list[Op]] = {}
    weights_bytes: Counter[str] = Counter()
    counted: set[str] = set()
    for op in graph.ops:
        by_kind.setdefault(op.kind, []).append(op)
        for name in op.inputs:
            # Shared constants are stored, and counted, once.
            if name is not None and name not in counted and graph.tensors[name].is_constant:
                counted.add(name)
                weights_bytes[op.kind] += tensor_bytes(graph.tensors[name])
    rows = [
        KindRow(
            kind=kind,
            count=len(ops),
            dtypes=tuple(name for name, _ in Counter(graph.tensors[op.outputs[0]].dtype for op in ops).most_common()),
            macs=sum(op_macs(graph, op) for op in ops),
            weights_bytes=weights_bytes[kind],
            dilated=sum(max(_dilations(op)) > 1 for op in ops),
        )
        for kind, ops in by_kind.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.macs, -row.count, row.kind)))


def _dilations(op: Op) -> tuple[int, int]:
    """Steps between the taps of a kernel, down and across; 1 for ops that have none."""
    return int(op.options.get("dilation_h_factor", 1)), int(op.options.get("dilation_w_factor", 1))


def _shapes_when_run(op: Op) -> dict[str, tuple[int, ...] | None]:
    """Returns the known shapes of a custom op's outputs, if the file leaves them open."""
    shapes = detection_shapes(op)
    return dict(zip(op.outputs, shapes, strict=True)) if shapes else dict.fromkeys(op.outputs)


def _end(tensor: Tensor, when_run: Mapping[str, tuple[int, ...] | None]) -> EndRow:
    quantization = tensor.quantization
    return EndRow(
        name=tensor.name,
        # A file says of a shape that it does not know what it says of a scalar's: nothing.
        shape=tensor.shape or when_run.get(tensor.name, tensor.shape),
        dtype=tensor.dtype,
        scale=float(quantization.scale[0]) if quantization else None,
        zero_point=int(quantization.zero_point[0]) if quantization else None,
    )


def _largest(tensors: Iterable[Tensor]) -> tuple[TensorRow, ...]:
    ranked = sorted(tensors, key=lambda tensor: (-tensor_bytes(tensor), tensor.name))[:_LARGEST]
    return tuple(TensorRow(tensor.name, tensor.shape, tensor.stored_dtype, tensor_bytes(tensor)) for tensor in ranked)


def _metadata_text(data: bytes) -> str | int:
    text = data.rstrip(b"\0")
    return text.decode() if text and text.isascii() and text.decode().isprintable() else len(data)
