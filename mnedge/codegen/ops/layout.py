"""CONCATENATION and PAD: ops that only move bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.codegen.ops._forms import Whole
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from mnedge.codegen.program import CallSite, KernelSet, Value
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class Concatenation(Whole):
    """Inputs one after another along one axis: `outer` times, `lengths` bytes of each."""

    outer: int
    lengths: tuple[int, ...]
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("copy_strided",)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        stride, offset, lines = sum(self.lengths), 0, []
        for name, length in zip(site.inputs, self.lengths, strict=True):
            lines.append(f"copy_strided({name}, {site.output} + {offset}, {self.outer}, {length}, {length}, {stride});")
            offset += length
        return "\n    ".join(lines)


@dataclass(frozen=True, eq=False)
class Pad(Whole):
    """A border around a value, in TFLite's int8 filled with the output's zero point.

    Attributes:
        before: Elements before, in rows, columns and channels.
        input: The value it reads.
        output: The value it makes.
    """

    before: tuple[int, int, int]
    input: Value
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("copy_strided", "fill")

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        x, y = self.input, self.output
        top, left, front = self.before
        start = top * y.row_bytes + left * y.channels + front
        copy = (
            f"copy_strided({site.inputs[0]} + row * {x.row_bytes}, {site.output} + {start} + row * {y.row_bytes}, "
            f"{x.columns}, {x.channels}, {x.channels}, {y.channels});"
        )
        return (
            f"fill({site.output}, {y.size_bytes}, {y.zero_point});\n"
            f"    for (int32_t row = 0; row < {x.rows}; row++) {{\n        {copy}\n    }}"
        )


def lower_concatenation(source: Source, op: Op) -> Concatenation:
    """CONCATENATION along any axis.

    Raises:
        UnsupportedError: Constant inputs, or scales that differ, which TFLite's int8 kernel refuses too.
    """
    y = source.value(op.outputs[0])
    axis = int(op.options.get("axis", 0)) % len(y.shape)
    inner = math.prod(y.shape[axis + 1 :])
    lengths = []
    for name in (str(name) for name in op.inputs):
        x = source.value(name)
        if source.graph.tensors[name].is_constant:
            raise UnsupportedError(f"{source.where(op)} has the constant input {name}; only computed ones are compiled")
        if (x.scale, x.zero_point) != (y.scale, y.zero_point):
            raise UnsupportedError(f"{source.where(op)} joins {name} of another scale; TFLite joins within one scale")
        lengths.append(x.shape[axis] * inner)
    return Concatenation(math.prod(y.shape[:axis]), tuple(lengths), y)


def lower_pad(source: Source, op: Op) -> Pad:
    """PAD of rows, columns and channels.

    Raises:
        UnsupportedError: Padding of the batch, or of more than three dimensions.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    amounts = source.constant(str(op.inputs[1]), op).reshape(-1, 2)
    leading, last = amounts[:-3], amounts[-3:]
    if leading.any() or len(amounts) < 3 or (x.scale, x.zero_point) != (y.scale, y.zero_point):
        raise UnsupportedError(
            f"{source.where(op)} pads {x.shape} by {amounts.tolist()}; rows, columns and channels are compiled"
        )
    return Pad((int(last[0, 0]), int(last[1, 0]), int(last[2, 0])), x, y)
