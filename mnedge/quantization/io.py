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
    same scale, so that an 8-bit pixel goes in as it is. Float ends of what is int16 inside become that, without
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
    finer = _finer(graph) if io == "float32" else {}
    tensors = [replace(graph.tensors[name], name=fresh) for name, fresh in inner.items()]
    tensors += [_outer(graph.tensors[name], io) for name in inner]
    starts = {name: finer.get(name, inner[name]) for name in graph.inputs if name in inner}
    ends = {name: finer.get(name, inner[name]) for name in graph.outputs if name in inner}
    first = [Op("QUANTIZE", (name,), (steps,)) for name, steps in starts.items()]
    last = [Op("DEQUANTIZE" if io == "float32" else "QUANTIZE", (steps,), (name,)) for name, steps in ends.items()]
    middle = [
        replace(op.with_inputs(inner), outputs=tuple(inner.get(name, name) for name in op.outputs))
        for op in graph.ops
        if op.kind != "QUANTIZE" or not ({*op.inputs, *op.outputs} & finer.keys())
    ]
    return graph.replaced(tensors=tensors, ops=[*first, *middle, *last])


def _finer(graph: Graph) -> dict[str, str]:
    """The int16 tensor that each int8 end only stands for: it alone is made of the input, or the output of it alone."""
    readers, producers = graph.consumers(), graph.producers()
    found = {}
    for name in graph.inputs:
        made = [op.outputs[0] for op in readers[name] if op.kind == "QUANTIZE"]
        if len(made) == len(readers[name]) == 1 and name not in graph.outputs:
            found[name] = made[0]
    for name in graph.outputs:
        op = producers.get(name)
        if op is not None and op.kind == "QUANTIZE" and not readers[name]:
            found[name] = str(op.inputs[0])
    return {name: other for name, other in found.items() if graph.tensors[other].dtype == "int16"}


def _is_int8(graph: Graph, name: str) -> bool:
    tensor = graph.tensors[name]
    return tensor.dtype == "int8" and tensor.quantization is not None


def _outer(tensor: Tensor, io: str) -> Tensor:
    if io == "float32":
        return replace(tensor, dtype="float32", quantization=None)
    assert tensor.quantization is not None
    shifted = Quantization(tensor.quantization.scale, tensor.quantization.zero_point + 128)
    return replace(tensor, dtype="uint8", quantization=shifted)
