"""REDUCE_MAX, REDUCE_MIN, SUM and MEAN over any dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.codegen.ops._forms import Whole
from mnedge.codegen.ops._one_scale import values_of_one_scale
from mnedge.codegen.ops.move import merged_loops, strides_of
from mnedge.codegen.program import CallSite, KernelSet, Value, descriptor
from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import mean_multiplier, quantize_multiplier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op

_KEPT, _REDUCED = 4, 3
_NO_RESCALE = {"offset": 0, "multiplier": 0, "shift": 0, "zero_point": 0}


@dataclass(frozen=True, eq=False)
class Reduce(Whole):
    """One step of the output from all that lies along some dimensions of the input.

    Attributes:
        how: What becomes of them.
        kept: Extent and stride in elements of each loop over the output, the outermost first.
        reduced: Extent and stride of each loop over what becomes one step.
        fields: Of sums: the integers that rescale them, by the C field's name.
        output: The value it makes.
    """

    how: Literal["sum", "maximum", "minimum"]
    kept: tuple[tuple[int, int], ...]
    reduced: tuple[tuple[int, int], ...]
    fields: dict[str, int]
    output: Value

    def macs(self) -> int:
        """See `Kernel`."""
        return self.output.size * math.prod(extent for extent, _ in self.reduced)

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "reduce")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        (extents, strides), (reduced_extents, reduced_strides) = (
            zip(*self.kept, strict=True),
            zip(*self.reduced, strict=True),
        )
        arrays = {
            "extents": extents, "strides": strides,
            "reduced_extents": reduced_extents, "reduced_strides": reduced_strides,
        }  # fmt: skip
        words = {name: f"{{{', '.join(map(str, numbers))}}}" for name, numbers in arrays.items()}
        return descriptor("reduce", symbol, {**words, **self.fields})

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        function = f"reduce_{8 * self.output.item_bytes}"
        return f"{function}(&{site.symbol}, {site.inputs[0]}, {site.output}, REDUCE_{self.how.upper()});"


def lower_reduction(source: Source, op: Op) -> Reduce:
    """REDUCE_MAX and REDUCE_MIN within one scale; SUM and MEAN to any.

    Raises:
        UnsupportedError: The axes are computed at run time, or alternate more often than the kernel has loops.
    """
    x = source.value(str(op.inputs[0]))
    axes = axes_of(source, op, x)
    loops = list(zip(x.shape, strides_of(x.shape), strict=True))
    kept = _filled(source, op, [loop for axis, loop in enumerate(loops) if axis not in axes], _KEPT)
    reduced = _filled(source, op, [loop for axis, loop in enumerate(loops) if axis in axes], _REDUCED)
    if op.kind in ("REDUCE_MAX", "REDUCE_MIN"):
        _, y = values_of_one_scale(source, op, "TFLite takes maxima and minima within one scale")
        return Reduce("maximum" if op.kind == "REDUCE_MAX" else "minimum", kept, reduced, dict(_NO_RESCALE), y)
    y = source.value(op.outputs[0])
    count = math.prod(x.shape[axis] for axis in axes)
    most = ((1 << 31) - 1) >> (8 * x.item_bytes - 1)
    if x.dtype != y.dtype or count > most:
        raise UnsupportedError(
            f"{source.where(op)} sums {count:,} steps of {x.dtype} to {y.dtype}; at most {most:,}, whose sum fits 32 "
            "bits, of one dtype are compiled"
        )
    multiplier, shift = quantize_multiplier(float(np.float64(x.scale) / np.float64(y.scale)))
    if op.kind == "MEAN":
        multiplier, shift = mean_multiplier(x.scale, y.scale, count)
    fields = {
        "offset": -count * x.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": y.zero_point,
    }
    return Reduce("sum", kept, reduced, fields, y)


def axes_of(source: Source, op: Op, x: Value) -> set[int]:
    """The axes of a reduction, counted from the front.

    Raises:
        UnsupportedError: They are computed at run time.
    """
    return {source.axis(op, int(axis), x.shape) for axis in np.ravel(source.constant(str(op.inputs[1]), op))}


def _filled(source: Source, op: Op, loops: Sequence[tuple[int, int]], count: int) -> tuple[tuple[int, int], ...]:
    merged = merged_loops(loops)
    if len(merged) > count:
        raise UnsupportedError(
            f"{source.where(op)} goes through {len(merged)} dimensions on their own; {count} are compiled"
        )
    return tuple([(1, 0)] * (count - len(merged)) + merged)
