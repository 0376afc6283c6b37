"""The dtype of a quantized graph's ends: int8, uint8 or float32."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from mnedge.errors import InputError
from mnedge.graph.graph import Op, Quantization

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Tensor

IO_DTYPES = ("int8", "uint8", "float32")


def with_io(graph: Graph, io: Literal["int8", "uint8", "float32"]) -> Graph:
    """Puts QUANTIZE and DEQUANTIZE at the ends of an int8 graph, so that the caller gives and gets `io`.

    The ends keep their names; the int8 tensors inside get "/int8" behind theirs. uint8 is int8 plus 128 with the
    same scale, so that an 8-bit pixel goes in as it is. A float output of what is int16 inside is made of that, not of
    the int8 that ships otherwise.

    Args:
        graph: int8 in and out; ends of other dtypes (a class index of ARG_MAX) stay as they are.
        io: The dtype wanted.

    Raises:
        InputError: Unknown dtype.
    """
    if io not in IO_DTYPES:
        raise InputError.unknown("I/O type", io, IO_DTYPES)
    if io == "int8":
        return graph
    inner = {
        name: graph.fresh_name(f"{name}/int8") for name in (*graph.inputs, *graph.outputs) if _is_int8(graph, name)
    }
    tensors = [replace(graph.tensors[name], name=fresh) for name, fresh in inner.items()]
    tensors += [_outer(graph.tensors[name], io) for name in inner]
    first = [Op("QUANTIZE", (name,), (inner[name],)) for name in graph.inputs if name in inner]
    last_kind = "DEQUANTIZE" if io == "float32" else "QUANTIZE"
    finer = _finer(graph) if io == "float32" else {}
    last = [Op(last_kind, (finer.get(name, inner[name]),), (name,)) for name in graph.outputs if name in inner]
    middle = [
        replace(op.with_inputs(inner), outputs=tuple(inner.get(name, name) for name in op.outputs))
        for op in graph.ops
        if op.outputs[0] not in finer
    ]
    return graph.replaced(tensors=tensors, ops=[*first, *middle, *last])


def _finer(graph: Graph) -> dict[str, str]:
    """The int16 tensor that each int8 output is made of, where nothing else reads that output."""
    readers = graph.consumers()
    return {
        op.outputs[0]: str(op.inputs[0])
        for op in graph.ops
        if op.kind == "QUANTIZE"
        and op.outputs[0] in graph.outputs
        and not readers[op.outputs[0]]
        and graph.tensors[str(op.inputs[0])].dtype == "int16"
    }


def _is_int8(graph: Graph, name: str) -> bool:
    tensor = graph.tensors[name]
    return tensor.dtype == "int8" and tensor.quantization is not None


def _outer(tensor: Tensor, io: str) -> Tensor:
    if io == "float32":
        return replace(tensor, dtype="float32", quantization=None)
    assert tensor.quantization is not None
    shifted = Quantization(tensor.quantization.scale, tensor.quantization.zero_point + 128)
    return replace(tensor, dtype="uint8", quantization=shifted)
