"""Preparation of a Graph for lowering: shapes computed now, float ends cut off, uint8 brought to int8."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.errors import UnsupportedError
from mnedge.graph.fold_shapes import fold_shapes
from mnedge.graph.graph import Op, Quantization
from mnedge.graph.ops import GATHERING, weights_of
from mnedge.graph.shapes import made_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.graph.graph import Graph, Tensor

# Ops whose uint8 kernels compute in other ways than the int8 ones.
_OWN_IN_UINT8 = ("L2_NORMALIZATION", "RESIZE_BILINEAR")
# Option of an op whose steps were uint8: halves of an AVERAGE_POOL_2D go up, a CONCATENATION may join several scales.
WAS_UINT8 = "was_uint8"
_SHIFT = 128


def prepare(graph: Graph) -> Graph:
    """The graph without ops that compute shapes, from the first quantized tensors up to the last ones.

    A float input that only a QUANTIZE reads gives way to what that makes, and a float output that a DEQUANTIZE makes to
    what that reads: the caller converts with NAME_quantize and NAME_dequantize, or has steps already.
    """
    return _without_float_ends(_with_shapes(fold_shapes(graph)))


def _with_shapes(graph: Graph) -> Graph:
    """The graph with the shapes that the file leaves open and constants now decide, as of a Dense layer's RESHAPE."""
    tensors = dict(graph.tensors)
    for op in graph.ops:
        outputs = [tensors[name] for name in op.outputs]
        if not any(tensor.is_open for tensor in outputs):
            continue
        read = [tensors[name] for name in op.inputs if name is not None]
        constants = {tensor.name: tensor.data for tensor in read if tensor.data is not None}
        made = made_shapes(op, {tensor.name: tensor.shape for tensor in read}, constants)
        if op.kind == "RESHAPE" and len(read) > 1 and read[1].data is not None:
            made = [_reshaped(read[0].shape, [int(extent) for extent in np.ravel(read[1].data)])]
        for tensor, shape in zip(outputs, made or (), strict=False):
            tensors[tensor.name] = replace(tensor, shape=shape, open_shape=())
    changed = [tensor for name, tensor in tensors.items() if tensor is not graph.tensors[name]]
    return graph.replaced(tensors=changed) if changed else graph


def _reshaped(shape: tuple[int, ...], wanted: Sequence[int]) -> tuple[int, ...]:
    """The shape that a RESHAPE makes; one extent may be -1, which takes what is left."""
    known = math.prod(extent for extent in wanted if extent >= 0)
    rest = math.prod(shape) // known if known else 0
    return tuple(rest if extent < 0 else extent for extent in wanted)


def _without_float_ends(graph: Graph) -> Graph:
    readers, producers = graph.consumers(), graph.producers()
    inputs = {name: graph.inputs.index(name) for name in graph.inputs}
    renamed: dict[str, str] = {}
    dropped = set()
    starts = list(graph.inputs)
    for name in graph.inputs:
        behind = readers[name]
        steps = [op.outputs[0] for op in behind if op.kind == "QUANTIZE"]
        if graph.tensors[name].dtype != "float32" or not steps or len(steps) != len(behind) or name in graph.outputs:
            continue
        if any(not _same_steps(graph, step, steps[0]) for step in steps):
            continue
        starts[inputs[name]] = steps[0]
        renamed.update(dict.fromkeys(steps[1:], steps[0]))
        dropped.update(steps)
    ends = []
    for name in graph.outputs:
        op = producers.get(name)
        cut = op is not None and op.kind == "DEQUANTIZE" and graph.tensors[name].dtype == "float32"
        source = str(op.inputs[0]) if op is not None and cut else name
        if cut and source not in ends and not graph.tensors[source].is_constant:
            ends.append(renamed.get(source, source))
            if not readers[name]:
                dropped.add(name)
        else:
            ends.append(renamed.get(name, name))
    if not dropped and ends == list(graph.outputs):
        return graph
    ops = [op.with_inputs(renamed) for op in graph.ops if dropped.isdisjoint(op.outputs)]
    return graph.replaced(ops=ops, inputs=starts, outputs=ends)


def _same_steps(graph: Graph, one: str, other: str) -> bool:
    first, second = graph.tensors[one], graph.tensors[other]
    if first.dtype != second.dtype or first.quantization is None or second.quantization is None:
        return False
    return bool(
        first.quantization.scale.tobytes() == second.quantization.scale.tobytes()
        and first.quantization.zero_point.tobytes() == second.quantization.zero_point.tobytes()
    )


def signed(graph: Graph) -> Graph:
    """The graph with int8 in place of uint8 inside, each step and zero point 128 lower; the ends stay as they are.

    Weights stay too: `Source.weights` takes their zero point off. Kernels compute with centred steps, so that all is
    the same except for an average, whose halves go away from zero in int8 and up in uint8.

    Raises:
        UnsupportedError: An op that LiteRT computes in another way in uint8.
    """
    inner = {name for name, tensor in graph.tensors.items() if _is_unsigned(graph, tensor)}
    # A QUANTIZE at an end is one table; what it makes inside is another tensor's step.
    ends = {
        name: graph.fresh_name(f"{name}/int8")
        for name in (*graph.inputs, *graph.outputs)
        if name in inner and not _only_quantized(graph, name)
    }
    kept = {name for name in (*graph.inputs, *graph.outputs) if name in inner and name not in ends}
    tensors = [_lowered(graph.tensors[name], ends.get(name, name)) for name in inner - kept]
    if not tensors:
        return graph
    ops = [Op("QUANTIZE", (name,), (ends[name],)) for name in graph.inputs if name in ends]
    for op in graph.ops:
        if op.kind in _OWN_IN_UINT8 and op.outputs[0] in inner:
            raise UnsupportedError(
                f"{op.kind} (output {op.outputs[0]}) computes in another way in uint8 than in int8; `mnedge optimize "
                "IN.tflite --target TARGET -o OUT.tflite` makes an int8 model of it, and measures what that changes"
            )
        made = replace(op.with_inputs(ends), outputs=tuple(ends.get(name, name) for name in op.outputs))
        differs = op.kind in ("AVERAGE_POOL_2D", "CONCATENATION") and op.outputs[0] in inner
        ops.append(made.with_options(**{WAS_UINT8: True}) if differs else made)
    ops += [
        Op("QUANTIZE", (ends[name],), (name,)) for name in graph.outputs if name in ends and name not in graph.inputs
    ]
    return graph.replaced(tensors=tensors, ops=ops)


def _is_unsigned(graph: Graph, tensor: Tensor) -> bool:
    """Whether a tensor is in uint8, and no weights."""
    if tensor.dtype != "uint8" or tensor.quantization is None or tensor.quantization.axis is not None:
        return False
    return not any(op.kind in GATHERING and weights_of(op) == tensor.name for op in graph.ops)


def _only_quantized(graph: Graph, name: str) -> bool:
    """Whether an end is read or made by QUANTIZE alone, to or from int8."""
    beside = [op for op in graph.ops if name in op.inputs or name in op.outputs]
    others = [other for op in beside for other in (*op.inputs, *op.outputs) if other is not None and other != name]
    return all(op.kind == "QUANTIZE" for op in beside) and all(graph.tensors[other].dtype == "int8" for other in others)


def _lowered(tensor: Tensor, name: str) -> Tensor:
    assert tensor.quantization is not None
    lower = Quantization(tensor.quantization.scale, tensor.quantization.zero_point - _SHIFT)
    data = None if tensor.data is None else (tensor.data.astype(np.int16) - _SHIFT).astype(np.int8)
    return replace(tensor, name=name, dtype="int8", quantization=lower, data=data)
