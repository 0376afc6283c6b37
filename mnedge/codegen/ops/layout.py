"""CONCATENATION, PACK, PAD and PADV2: ops that only move bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops._forms import InPasses, Whole
from mnedge.codegen.ops.elementwise import Table
from mnedge.codegen.program import Layer, int_array
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.codegen.program import CallSite, KernelSet, Value
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class Copy(Whole):
    """The bytes of a value at another place."""

    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("copy_strided",)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return f"copy_strided({site.inputs[0]}, {site.output}, 1, {self.output.size_bytes}, 0, 0);"


@dataclass(frozen=True, eq=False)
class Concatenation(InPasses):
    """Inputs one after another along one axis, each in a pass: `outer` times, `lengths` bytes of each.

    Attributes:
        outer: Runs of each input.
        lengths: Bytes of a run of each input.
        constants_of: The bytes of each input that is known, None of the others.
        output: The value it makes.
    """

    outer: int
    lengths: tuple[int, ...]
    constants_of: tuple[NDArray[np.int8] | None, ...]
    output: Value

    @property
    def by_pixel(self) -> bool:
        """Whether channels are joined: the inputs of a row need not exist whole."""
        joins_channels = self.outer == self.output.rows * self.output.columns
        return joins_channels and all(data is None for data in self.constants_of)

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("copy_strided",)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return "".join(
            int_array("int8_t", f"{symbol}_part{number}", data)
            for number, data in enumerate(self.constants_of)
            if data is not None
        )

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        stride, offset, lines, computed = sum(self.lengths), 0, [], iter(site.inputs)
        for number, (length, data) in enumerate(zip(self.lengths, self.constants_of, strict=True)):
            name = next(computed) if data is None else f"{site.symbol}_part{number}"
            runs = site.pixels if self.form == "pixels" else str(self.outer)
            lines.append(f"copy_strided({name}, {site.output} + {offset}, {runs}, {length}, {length}, {stride});")
            offset += length
        return "\n    ".join(lines)


@dataclass(frozen=True, eq=False)
class Pad(InPasses):
    """A border around a value: the output is filled, then the value copied.

    Attributes:
        before: Elements before, in rows, columns and channels.
        step: What fills it: of PAD the output's zero point; 0 of int16.
        input: The value it reads.
        output: The value it makes.
    """

    before: tuple[int, int, int]
    step: int
    input: Value
    output: Value

    @property
    def by_pixel(self) -> bool:
        """Whether channels are added alone."""
        x, y = self.input, self.output
        return (x.rows, x.columns) == (y.rows, y.columns)

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("copy_strided", "fill")

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        x, y = self.input, self.output
        top, left, front = self.before
        before, after = x.channels * x.item_bytes, y.channels * y.item_bytes
        step = self.step if self.step < 128 else self.step - 256
        if self.form == "pixels":
            copy = f"{site.output} + {front * y.item_bytes}, {site.pixels}, {before}, {before}, {after}"
            fill = f"fill({site.output}, {site.pixels} * {after}, {step});"
            return f"{fill}\n        copy_strided({site.inputs[0]}, {copy});"
        start = top * y.row_bytes + left * after + front * y.item_bytes
        copy = (
            f"copy_strided({site.inputs[0]} + row * {x.row_bytes}, {site.output} + {start} + row * {y.row_bytes}, "
            f"{x.columns}, {before}, {before}, {after});"
        )
        return (
            f"fill({site.output}, {y.size_bytes}, {step});\n"
            f"    for (int32_t row = 0; row < {x.rows}; row++) {{\n        {copy}\n    }}"
        )


def lower_concatenation(source: Source, op: Op) -> Concatenation:
    """CONCATENATION along any axis.

    Raises:
        UnsupportedError: Scales that differ, which TFLite's int8 kernel refuses too.
    """
    y = source.value(op.outputs[0])
    axis = source.axis(op, int(op.options.get("axis", 0)), y.shape)
    inner = math.prod(y.shape[axis + 1 :])
    lengths = [source.value(str(x)).shape[axis] * inner for x in op.inputs]
    return _joined(source, op, math.prod(y.shape[:axis]), lengths)


def lower_uint8_concatenation(source: Source, op: Op) -> list[Layer]:
    """CONCATENATION of what was uint8: tables bring inputs of other scales to it, rounded in float32 as TFLite does."""
    y = source.value(op.outputs[0])
    layers, names = [], []
    for name in (str(name) for name in op.inputs):
        x = source.value(name)
        if (x.scale, x.zero_point) == (y.scale, y.zero_point) or source.graph.tensors[name].is_constant:
            names.append(name)
            continue
        scale = np.float32(x.scale) * (np.float32(1) / np.float32(y.scale))
        # The steps and zero points of the file, 128 higher.
        steps = np.arange(256, dtype=np.float32) * scale + np.float32(-(x.zero_point + 128)) * scale
        rounded = np.sign(steps) * np.floor(np.abs(steps).astype(np.float64) + 0.5)
        table = np.clip(rounded.astype(np.int64) + y.zero_point, -128, 127)
        made = replace(x, name=f"{name} (rescaled for {y.name})", scale=y.scale, zero_point=y.zero_point)
        layers.append(Layer("table", (name,), made.name, Table(table, x, made)))
        names.append(made.name)
    axis = source.axis(op, int(op.options.get("axis", 0)), y.shape)
    inner = math.prod(y.shape[axis + 1 :])
    lengths = tuple(source.value(str(name)).shape[axis] * inner for name in op.inputs)
    constants = tuple(source.graph.tensors[str(name)].data for name in op.inputs)
    computed = tuple(name for name, data in zip(names, constants, strict=True) if data is None)
    kernel = Concatenation(math.prod(y.shape[:axis]), lengths, constants, y)
    return [*layers, Layer(op.kind, computed, y.name, kernel)]


def lower_pack(source: Source, op: Op) -> Concatenation:
    """PACK along a new axis.

    Raises:
        UnsupportedError: Scales that differ.
    """
    y = source.value(op.outputs[0])
    axis = source.axis(op, int(op.options.get("axis", 0)), y.shape)
    return _joined(source, op, math.prod(y.shape[:axis]), [math.prod(y.shape[axis + 1 :])] * len(op.inputs))


def _joined(source: Source, op: Op, outer: int, lengths: Sequence[int]) -> Concatenation:
    """Joins runs of `lengths` elements."""
    y = source.value(op.outputs[0])
    constants: list[NDArray[np.int8] | None] = []
    for name in (str(name) for name in op.inputs):
        x = source.value(name)
        if (x.dtype, x.scale, x.zero_point) != (y.dtype, y.scale, y.zero_point):
            raise UnsupportedError(f"{source.where(op)} joins {name} of another scale; TFLite joins within one scale")
        data = source.graph.tensors[name].data
        constants.append(None if data is None else np.ascontiguousarray(data).view(np.int8))
    return Concatenation(outer, tuple(length * y.item_bytes for length in lengths), tuple(constants), y)


def lower_pad(source: Source, op: Op) -> Pad:
    """PAD of rows, columns and channels, and PADV2 with a constant value of the input's scale.

    Raises:
        UnsupportedError: Padding of the batch, or of more than three dimensions, or by a value of another scale.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    amounts = source.constant(str(op.inputs[1]), op).reshape(-1, 2)
    # Dimensions in front may be there or not: [[0, 0], [1, 1]] and [[0, 0], [0, 0], [0, 0], [1, 1]] pad the same.
    last = np.concatenate([np.zeros((3, 2), amounts.dtype), amounts])[-3:]
    step = y.zero_point
    if op.kind == "PADV2":
        filler = source.value(str(op.inputs[2]))
        step = int(np.ravel(source.constant(str(op.inputs[2]), op))[0])
        if (filler.scale, filler.zero_point) != (y.scale, y.zero_point):
            raise UnsupportedError(
                f"{source.where(op)} pads with a value of another scale; PADV2 works within one scale"
            )
    if step != 0 and y.dtype == "int16":
        raise UnsupportedError(f"{source.where(op)} pads int16 with the step {step}; 0 is compiled")
    if amounts[:-3].any() or (x.dtype, x.scale, x.zero_point) != (y.dtype, y.scale, y.zero_point):
        raise UnsupportedError(
            f"{source.where(op)} pads {x.shape} by {amounts.tolist()}; rows, columns and channels are compiled"
        )
    return Pad((int(last[0, 0]), int(last[1, 0]), int(last[2, 0])), step, x, y)
