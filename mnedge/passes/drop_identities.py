"""Ops that change nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.ops import OPS, RESHAPES
from mnedge.passes._pass import read_once, same_quantization

if TYPE_CHECKING:
    from mnedge.graph.graph import Graph, Op, Tensor

_MAKES_ANY_SCALE = ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MUL", "SUB")


def apply(graph: Graph) -> Graph:
    """Drops ops whose result is their input, and merges the two of a pair that one can do.

    Exact. Dropped: RESHAPE, SQUEEZE, PAD, TILE, TRANSPOSE and RESIZE to the shape and order that already is, pooling
    over one pixel, QUANTIZE to the same scale, and RESHAPE, SQUEEZE and EXPAND_DIMS that add or take ones in front for
    arithmetic that broadcasts over them anyway: the TFLite converter makes (C,) of the (1, 1, 1, C) that a residual
    adds to one pixel. Merged: RESHAPE of a RESHAPE; and a QUANTIZE to the same dtype into the convolution, ADD or MUL
    that makes its input, which then rounds once, not twice.
    """
    while True:
        slimmer = _drop_one(graph)
        if slimmer is None:
            return graph
        graph = slimmer


def _drop_one(graph: Graph) -> Graph | None:
    producers, once = graph.producers(), read_once(graph)
    for op in graph.ops:
        if not op.inputs or op.inputs[0] is None:
            continue
        source = op.inputs[0]
        producer = producers.get(source)
        if _is_identity(graph, op):
            if op.outputs[0] not in graph.outputs:
                return _without(graph, op)
            if producer is not None and source in once:
                return _merged(graph, producer, op)
        elif _is_broadcast(graph, op):
            return _without(graph, op)
        elif producer is not None and source in once and _requantizes(graph, producer, op):
            return _merged(graph, producer, op)
        elif producer is not None and {op.kind, producer.kind} <= {"RESHAPE", "SQUEEZE"} and source in once:
            shorter = replace(op, inputs=(producer.inputs[0], *op.inputs[1:]))
            if op.kind == "RESHAPE":
                return graph.replaced(
                    ops=[shorter if item is op else item for item in graph.ops if item is not producer]
                )
    return None


def _is_identity(graph: Graph, op: Op) -> bool:
    source, result = graph.tensors[str(op.inputs[0])], graph.tensors[op.outputs[0]]
    if source.shape != result.shape or source.dtype != result.dtype:
        return False
    if not same_quantization(source.quantization, result.quantization):
        return False
    if op.kind in ("RESHAPE", "SQUEEZE", "PAD", "TILE", "QUANTIZE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        # Two shapes that are open may differ.
        return op.kind == "QUANTIZE" or not (source.is_open or result.is_open)
    if op.kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        one = op.options["filter_height"] == op.options["filter_width"] == 1
        return bool(one and op.options.get("activation", "NONE") == "NONE")
    if op.kind == "TRANSPOSE":
        order = graph.tensors[str(op.inputs[1])].data
        return order is not None and bool(np.all(order == np.arange(order.size)))
    return False


def _is_broadcast(graph: Graph, op: Op) -> bool:
    """Returns whether `op` only adds or takes ones in front, and its readers give the same without it."""
    source, result = graph.tensors[str(op.inputs[0])], graph.tensors[op.outputs[0]]
    is_moved = op.kind in RESHAPES and not (source.is_open or result.is_open)
    if not is_moved or _without_ones(source.shape) != _without_ones(result.shape):
        return False
    if result.name in graph.outputs or not same_quantization(source.quantization, result.quantization):
        return False
    return all(_broadcasts(graph, reader, result, source) for reader in graph.ops if result.name in reader.inputs)


def _broadcasts(graph: Graph, reader: Op, old: Tensor, new: Tensor) -> bool:
    """Returns whether an op that reads a tensor gives the same of another one with other ones in front."""
    info = OPS[reader.kind]
    if not info.elementwise or info.inputs != (2, 2):
        return False
    shapes = [(new if name == old.name else graph.tensors[str(name)]).shape for name in reader.inputs]
    # What broadcasts in the one rank does so in every other.
    return np.broadcast_shapes(*shapes) == graph.tensors[reader.outputs[0]].shape


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the ones in front."""
    return tuple(itertools.dropwhile(lambda extent: extent == 1, shape))


def _requantizes(graph: Graph, producer: Op, op: Op) -> bool:
    """Returns whether `op` is a QUANTIZE whose scale `producer` can make itself."""
    if op.kind != "QUANTIZE" or producer.kind not in _MAKES_ANY_SCALE:
        return False
    source, result = graph.tensors[str(op.inputs[0])], graph.tensors[op.outputs[0]]
    return source.dtype == result.dtype and source.quantization is not None


def _without(graph: Graph, op: Op) -> Graph:
    renamed = {op.outputs[0]: str(op.inputs[0])}
    return graph.replaced(ops=[item.with_inputs(renamed) for item in graph.ops if item is not op])


def _merged(graph: Graph, producer: Op, op: Op) -> Graph:
    merged = replace(producer, outputs=op.outputs)
    return graph.replaced(ops=[merged if item is producer else item for item in graph.ops if item is not op])
