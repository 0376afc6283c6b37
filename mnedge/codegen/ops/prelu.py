"""PRELU on int8: a slope of its own below 0 for each channel, or for each element."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops._forms import PixelByPixel, Whole
from mnedge.codegen.program import CallSite, KernelSet, Value, descriptor, int_array
from mnedge.graph.arithmetic import quantize_multiplier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class _Slopes:
    """The slopes below 0, and the integers that rescale both sides.

    Attributes:
        slopes: int8, shape (channels,) or that of the output.
        fields: Multipliers, shifts and zero points by the C field's name.
        output: Output value.
    """

    slopes: NDArray[np.int8]
    fields: dict[str, int]
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "prelu")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        slopes = int_array("int8_t", f"{symbol}_slopes", self.slopes)
        return slopes + descriptor("prelu", symbol, {"slopes": f"{symbol}_slopes", **self.fields})


class Prelu(_Slopes, PixelByPixel):
    """A slope per channel, the same in every pixel."""

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return f"prelu(&{site.symbol}, {site.inputs[0]}, {site.output}, {site.pixels}, {self.output.channels});"


class PreluOfElements(_Slopes, Whole):
    """A slope per element."""

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return f"prelu(&{site.symbol}, {site.inputs[0]}, {site.output}, 1, {self.output.size_bytes});"


def lower_prelu(source: Source, op: Op) -> Prelu | PreluOfElements:
    """PRELU with constant slopes that broadcast to the input.

    Raises:
        UnsupportedError: The slopes are computed at run time.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    name = str(op.inputs[1])
    data, slope = source.constant(name, op), source.value(name)
    # The runtime multiplies and divides the scales in float32.
    above = float(np.float32(x.scale) / np.float32(y.scale))
    below = float(np.float32(x.scale) * np.float32(slope.scale) / np.float32(y.scale))
    fields = {"zero_point_1": x.zero_point, "zero_point_2": slope.zero_point, "zero_point": y.zero_point}
    fields["multiplier_1"], fields["shift_1"] = quantize_multiplier(above)
    fields["multiplier_2"], fields["shift_2"] = quantize_multiplier(below)
    if data.size == 1 or data.size == data.shape[-1] == y.channels:
        return Prelu(np.broadcast_to(data.ravel(), (y.channels,)).astype(np.int8), fields, y)
    return PreluOfElements(np.broadcast_to(data, y.shape).astype(np.int8), fields, y)
