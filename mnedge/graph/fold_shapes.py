"""The shapes that a graph computes, computed now: SHAPE, and ops on constants that no quantization has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import constant
from mnedge.graph.shapes import made_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mnedge.graph.graph import Graph, Op, Tensor
    from mnedge.untyped import AnyArray

    Values = AnyArray


def fold_shapes(graph: Graph) -> Graph:
    """Replaces ops whose inputs are constants, and SHAPE of any tensor, by the constants that they make.

    Exact for the batch of 1 that a Graph has. Keras' own export leaves the batch free and computes the shape of the
    last RESHAPE with SHAPE, STRIDED_SLICE and PACK at every inference; no delegate takes them. A RESHAPE whose batch
    came from such ops gets -1 for it, so that a batch of any size still goes through. Height and width that the file
    leaves open are not known, and their SHAPE stays.
    """
    table: dict[str, Tensor] = dict(graph.tensors)
    ops: list[Op] = []
    folded_names: set[str] = set()
    for op in graph.ops:
        made = _value(op, table)
        # A file that leaves a shape open may say another one of the result than its inputs make.
        fits = made is not None and made.size == math.prod(table[op.outputs[0]].shape)
        if made is None or not fits or op.outputs[0] in graph.outputs:
            ops.append(op)
        else:
            name = op.outputs[0]
            table[name] = constant(name, made.astype(table[name].dtype).reshape(table[name].shape))
            folded_names.add(name)
    if len(ops) == len(graph.ops):
        return graph
    for place, op in enumerate(ops):
        if op.kind == "RESHAPE" and len(op.inputs) > 1 and op.inputs[1] in folded_names:
            shape = table[str(op.inputs[1])]
            assert shape.data is not None, "folded names are constants"
            if table[op.outputs[0]].open_shape[:1] == (-1,) and shape.data[:1] == 1 and np.all(shape.data >= 0):
                free = constant(f"{shape.name}/free_batch", np.array([-1, *shape.data[1:]], shape.data.dtype))
                table[free.name] = free
                ops[place] = op.with_inputs({shape.name: free.name})
    return graph.replaced(tensors=table.values(), ops=ops)


def _value(op: Op, table: Mapping[str, Tensor]) -> Values | None:
    """Returns the output of an op, if it is known."""
    if op.kind == "SHAPE":
        if table[str(op.inputs[0])].is_open:
            return None
        return np.array(table[str(op.inputs[0])].shape, np.int64)
    tensors = [table[name] for name in op.inputs if name is not None]
    if op.kind not in _FOLDED or any(tensor.data is None or tensor.quantization is not None for tensor in tensors):
        return None
    try:
        # Values that were folded just now may not fit where the file left a shape open.
        made_shapes(op, {t.name: t.shape for t in tensors}, {t.name: t.data for t in tensors if t.data is not None})
    except ValueError:
        return None
    return _FOLDED[op.kind](op, [tensor.data for tensor in tensors if tensor.data is not None])


def _pack(op: Op, values: list[Values]) -> Values:
    return np.stack(values, axis=int(op.options.get("axis", 0)))


def _concatenation(op: Op, values: list[Values]) -> Values:
    return np.concatenate(values, axis=int(op.options.get("axis", 0)))


def _strided_slice(op: Op, values: list[Values]) -> Values | None:
    data, begin, end, strides = values
    if op.options.get("ellipsis_mask") or op.options.get("new_axis_mask"):
        return None
    picks: list[slice | int] = []
    for axis in range(len(begin)):
        bit = 1 << axis
        if bit & int(op.options.get("shrink_axis_mask", 0)):
            picks.append(int(begin[axis]))
            continue
        first = None if bit & int(op.options.get("begin_mask", 0)) else int(begin[axis])
        last = None if bit & int(op.options.get("end_mask", 0)) else int(end[axis])
        picks.append(slice(first, last, int(strides[axis])))
    return np.asarray(data[tuple(picks)])


def _gather(op: Op, values: list[Values]) -> Values | None:
    data, places = values
    axis = int(op.options.get("axis", 0))
    if op.options.get("batch_dims") or np.any((places < 0) | (places >= data.shape[axis])):
        return None
    return np.asarray(np.take(data, places, axis=axis))


def _product(op: Op, values: list[Values]) -> Values:
    data, axes = values
    keep = bool(op.options.get("keep_dims"))
    return np.asarray(np.prod(data, axis=tuple(np.ravel(axes).tolist()), keepdims=keep, dtype=data.dtype))


_FOLDED: dict[str, Callable[[Op, list[Values]], Values | None]] = {
    "CONCATENATION": _concatenation,
    "GATHER": _gather,
    "PACK": _pack,
    "REDUCE_PROD": _product,
    "STRIDED_SLICE": _strided_slice,
}
