"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN over rows and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnedge.codegen.ops._forms import Whole, Windowed
from mnedge.codegen.ops._one_scale import values_of_one_scale
from mnedge.codegen.ops.reduce import Reduce, axes_of, lower_reduction
from mnedge.codegen.ops.window import window_of
from mnedge.codegen.prepare import WAS_UINT8
from mnedge.codegen.program import CallSite, KernelSet, Value, descriptor
from mnedge.graph.arithmetic import activation_range, mean_multiplier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.codegen.ops.window import Window
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class Pool(Windowed):
    """The average or maximum under a window; positions outside the input do not count.

    Attributes:
        kind: Which.
        window: Where it looks.
        low: Smallest output step.
        high: Largest output step.
        input: The value it reads.
        output: The value it makes.
        offset: Added to steps before they are averaged: 128 makes uint8 of them, whose halves go up.
        pad_step: Step that positions outside the input have for a maximum; below every step where they do not count.
    """

    kind: Literal["average", "maximum"]
    window: Window
    low: int
    high: int
    input: Value
    output: Value
    offset: int = 0
    pad_step: int = -32768

    def input_rows(self, row: int, index: int) -> tuple[int, int]:
        """See `Kernel`."""
        del index
        return self.window.input_rows(row)

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("pool", self._function)

    @property
    def _function(self) -> str:
        return f"{'int16_' if self.output.dtype == 'int16' else ''}{self.kind}_pool"

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        window = self.window
        fields = {
            "input_columns": self.input.columns,
            "output_columns": self.output.columns,
            "channels": self.output.channels,
            "kernel_rows": window.rows,
            "kernel_columns": window.columns,
            "stride": window.stride_columns,
            "pad_left": window.pad_left,
            "low": self.low,
            "high": self.high,
            "offset": self.offset,
            "pad_step": self.pad_step,
        }
        return descriptor("pool", symbol, dict(fields))

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return f"{self._function}(&{site.symbol}, {site.inputs[0]}, {site.output});"


@dataclass(frozen=True, eq=False)
class Mean(Whole):
    """The mean over rows and columns, one value a channel."""

    fields: Mapping[str, int]
    input: Value
    output: Value

    def scratch_bytes(self, kernels: KernelSet) -> int:
        """See `Kernel`."""
        del kernels
        return 4 * self.input.channels

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        own = () if kernels == "portable" else (f"{kernels}_requantize",)
        return ("requantize", *own, f"{kernels}_channel_sums", "mean")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return descriptor("mean", symbol, dict(self.fields))

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        sums = f"(int32_t *)(void *)({site.scratch})"
        runs = f"{self.input.rows * self.input.columns}, {self.input.channels}"
        return (
            f"{kernels}_channel_sums({site.inputs[0]}, {sums}, {runs});\n"
            f"    mean(&{site.symbol}, {sums}, {site.output});"
        )


def lower_pool(source: Source, op: Op) -> Pool:
    """AVERAGE_POOL_2D and MAX_POOL_2D; a PAD in front of a maximum was folded into the input's padding.

    Raises:
        UnsupportedError: The scale changes, which TFLite does not do either.
    """
    _, y = values_of_one_scale(source, op, "TFLite pools within one scale")
    entry, padding = source.padded(str(op.inputs[0]))
    x = source.value(entry)
    window = window_of(op, x, int(op.options["filter_height"]), int(op.options["filter_width"]), padding)
    pad_step = y.zero_point if entry != op.inputs[0] else -32768
    low, high = activation_range(str(op.options.get("activation", "NONE")), y.scale, y.zero_point, y.dtype)
    offset = 128 if op.options.get(WAS_UINT8) else 0
    return Pool("average" if op.kind.startswith("AVERAGE") else "maximum", window, low, high, x, y, offset, pad_step)


def lower_mean(source: Source, op: Op) -> Mean | Reduce:
    """MEAN over all rows and columns by sums a channel, over other axes by the general kernel."""
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    axes = axes_of(source, op, x)
    # All that lies in front of the innermost dimension, beside dimensions of one.
    if x.dtype == "int16" or any(
        extent > 1 and (axis in axes) == (axis == len(x.shape) - 1) for axis, extent in enumerate(x.shape)
    ):
        return lower_reduction(source, op)
    count = x.rows * x.columns
    multiplier, shift = mean_multiplier(x.scale, y.scale, count)
    fields = {
        "pixels": count,
        "channels": x.channels,
        "input_zero_point": x.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": y.zero_point,
    }
    return Mean(fields, x, y)
