"""TRANSPOSE, SLICE, SPLIT, UNPACK, GATHER and TILE: a value's bytes in another order, some left out or repeated."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops._forms import Whole
from mnedge.codegen.ops._one_scale import values_of_one_scale
from mnedge.codegen.program import int_array
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.codegen.program import CallSite, KernelSet, Value
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op

_DIMENSIONS = 4


@dataclass(frozen=True, eq=False)
class Pick(Whole):
    """Four nested loops over the output; each dimension steps through the input by its own stride.

    Attributes:
        offset: First byte of the input that is read.
        extents: Of the loops, the outermost first.
        strides: Bytes of the input from one step to the next; 0 repeats.
        input: The value it reads.
        output: The value it makes.
    """

    offset: int
    extents: tuple[int, ...]
    strides: tuple[int, ...]
    input: Value
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("pick",)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        extents = int_array("int32_t", f"{symbol}_extents", self.extents)
        return extents + int_array("int32_t", f"{symbol}_strides", self.strides)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        start = f"{site.inputs[0]} + {self.offset}" if self.offset else site.inputs[0]
        return f"pick({start}, {site.output}, {site.symbol}_extents, {site.symbol}_strides);"


def lower_transpose(source: Source, op: Op) -> Pick:
    """TRANSPOSE by a constant order.

    Raises:
        UnsupportedError: The order moves more than four dimensions, or is computed at run time.
    """
    x = source.value(str(op.inputs[0]))
    order = [int(axis) for axis in np.ravel(source.constant(str(op.inputs[1]), op))]
    strides = strides_of(x.shape)
    return _pick(source, op, 0, [(x.shape[axis], strides[axis]) for axis in order])


def lower_slice(source: Source, op: Op) -> Pick:
    """SLICE from a constant begin.

    Raises:
        UnsupportedError: The begin is computed at run time.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    begin = [int(place) for place in np.ravel(source.constant(str(op.inputs[1]), op))]
    strides = strides_of(x.shape)
    offset = sum(place * stride for place, stride in zip(begin, strides, strict=True))
    return _pick(source, op, offset, list(zip(y.shape, strides, strict=True)))


def lower_strided_slice(source: Source, op: Op) -> Pick:
    """STRIDED_SLICE from a constant begin by constant steps; dimensions may be taken away.

    Raises:
        UnsupportedError: It adds dimensions or has an ellipsis, or its begin is computed at run time.
    """
    if op.options.get("new_axis_mask") or op.options.get("ellipsis_mask"):
        raise UnsupportedError(f"{source.where(op)} has an ellipsis or adds dimensions; plain ranges are compiled")
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    begin, _, steps = (np.ravel(source.constant(str(name), op)).tolist() for name in op.inputs[1:4])
    begin_mask, shrink_mask = (int(op.options.get(name, 0)) for name in ("begin_mask", "shrink_axis_mask"))
    extents, offset, loops = list(y.shape), 0, []
    for axis, (size, stride) in enumerate(zip(x.shape, strides_of(x.shape), strict=True)):
        if axis >= len(begin):
            loops.append((extents.pop(0), stride))
            continue
        first = (0 if steps[axis] > 0 else size - 1) if begin_mask >> axis & 1 else begin[axis]
        first += size if first < 0 else 0
        offset += min(max(first, 0), size - 1) * stride
        if not shrink_mask >> axis & 1:
            loops.append((extents.pop(0), steps[axis] * stride))
    return _pick(source, op, offset, loops)


def lower_tile(source: Source, op: Op) -> Pick:
    """TILE by constant numbers of repeats.

    Raises:
        UnsupportedError: The repeats are computed at run time, or need more than four loops.
    """
    x = source.value(str(op.inputs[0]))
    repeats = [int(count) for count in np.ravel(source.constant(str(op.inputs[1]), op))]
    loops = []
    for extent, stride, count in zip(x.shape, strides_of(x.shape), repeats, strict=True):
        loops += [(count, 0), (extent, stride)]
    return _pick(source, op, 0, loops)


def lower_split(source: Source, op: Op) -> list[Pick]:
    """SPLIT and SPLIT_V: one slice an output.

    Raises:
        UnsupportedError: The axis is computed at run time.
    """
    data, where = (1, 0) if op.kind == "SPLIT" else (0, 2)
    x = source.value(str(op.inputs[data]))
    axis = source.axis(op, int(np.ravel(source.constant(str(op.inputs[where]), op))[0]), x.shape)
    strides, place, parts = strides_of(x.shape), 0, []
    for name in op.outputs:
        y = source.value(name)
        loops = list(zip(y.shape, strides, strict=True))
        parts.append(_pick(source, op, place * strides[axis], loops, data, name))
        place += y.shape[axis]
    return parts


def lower_unpack(source: Source, op: Op) -> list[Pick]:
    """UNPACK: one slice an output, without the axis."""
    x = source.value(str(op.inputs[0]))
    axis = source.axis(op, int(op.options.get("axis", 0)), x.shape)
    loops = list(zip(x.shape, strides_of(x.shape), strict=True))
    others = loops[:axis] + loops[axis + 1 :]
    return [_pick(source, op, place * loops[axis][1], others, 0, name) for place, name in enumerate(op.outputs)]


@dataclass(frozen=True, eq=False)
class Gather(Whole):
    """Runs of bytes at constant places.

    Attributes:
        outer: Times that all places are gone through.
        places: Of the runs that are read, in order.
        extent: Runs in the input, each time.
        length: Bytes of a run.
        output: The value it makes.
    """

    outer: int
    places: tuple[int, ...]
    extent: int
    length: int
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("gather_runs",)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return int_array("int32_t", symbol, self.places)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        runs = f"{len(self.places)}, {self.outer}, {self.extent}, {self.length}"
        return f"gather_runs({site.inputs[0]}, {site.output}, {site.symbol}, {runs});"


def lower_gather(source: Source, op: Op) -> Gather:
    """GATHER at constant places along an axis.

    Raises:
        UnsupportedError: The places are computed at run time or lie outside, or are those of each batch.
    """
    x, y = values_of_one_scale(source, op, "ops that only move bytes keep it")
    if op.options.get("batch_dims", 0):
        raise UnsupportedError(
            f"{source.where(op)} gathers at places of each batch; the same places for all are compiled"
        )
    axis = source.axis(op, int(op.options.get("axis", 0)), x.shape)
    places = [int(place) for place in np.ravel(source.constant(str(op.inputs[1]), op))]
    if any(not 0 <= place < x.shape[axis] for place in places):
        raise UnsupportedError(
            f"{source.where(op)} gathers at {places} of {x.shape[axis]} places; 0 to one less are there"
        )
    length = math.prod(x.shape[axis + 1 :]) * x.item_bytes
    return Gather(math.prod(x.shape[:axis]), tuple(places), x.shape[axis], length, y)


def expanded(x: Value, y: Value, name: str) -> Pick:
    """A value repeated until it has another one's shape.

    Args:
        x: The value; its shape broadcasts to that of `y`.
        y: Has the shape.
        name: Name of what is made.

    Raises:
        UnsupportedError: It is repeated along more than four dimensions on their own.
    """
    shape = (1,) * (len(y.shape) - len(x.shape)) + x.shape
    loops = [
        (extent, 0 if own == 1 else stride)
        for extent, own, stride in zip(y.shape, shape, strides_of(shape), strict=True)
    ]
    merged = _in_bytes(loops, x)
    if len(merged) > _DIMENSIONS:
        raise UnsupportedError(
            f"{x.name} of shape {x.shape} broadcasts to {y.shape}; {_DIMENSIONS} dimensions are compiled"
        )
    merged = [(1, 0)] * (_DIMENSIONS - len(merged)) + merged
    made = replace(x, name=name, shape=y.shape)
    return Pick(0, tuple(extent for extent, _ in merged), tuple(stride for _, stride in merged), x, made)


def strides_of(shape: Sequence[int]) -> list[int]:
    """Elements from one place to the next along each dimension."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _pick(
    source: Source, op: Op, offset: int, loops: Sequence[tuple[int, int]], data: int = 0, output: str | None = None
) -> Pick:
    x, y = values_of_one_scale(source, op, "ops that only move bytes keep it", data, output)
    merged = _in_bytes(loops, x)
    if len(merged) > _DIMENSIONS:
        raise UnsupportedError(
            f"{source.where(op)} moves {len(merged)} dimensions of {x.shape} on their own; {_DIMENSIONS} are compiled"
        )
    merged = [(1, 0)] * (_DIMENSIONS - len(merged)) + merged
    assert math.prod(extent for extent, _ in merged) == y.size_bytes, source.where(op)
    extents, strides = tuple(extent for extent, _ in merged), tuple(stride for _, stride in merged)
    return Pick(offset * x.item_bytes, extents, strides, x, y)


def _in_bytes(loops: Sequence[tuple[int, int]], x: Value) -> list[tuple[int, int]]:
    """Merged loops over elements as loops over bytes."""
    wide = [(extent, stride * x.item_bytes) for extent, stride in loops]
    return merged_loops([*wide, (x.item_bytes, 1)])


def merged_loops(loops: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Loops without those of one step, and with those merged that follow each other in the input."""
    merged: list[tuple[int, int]] = []
    for extent, stride in loops:
        if extent == 1:
            continue
        if merged and merged[-1][1] == extent * stride:
            merged[-1] = (merged[-1][0] * extent, stride)
        else:
            merged.append((extent, stride))
    return merged
