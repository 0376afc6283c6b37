"""SOFTMAX and LOG_SOFTMAX on int8, with the exponentials of TFLite's fixed point as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.codegen.ops._forms import PixelByPixel
from mnedge.codegen.program import CallSite, KernelSet, Value, descriptor, int_array
from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import input_radius, quantize_multiplier, softmax_exponentials, softmax_multiplier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class Softmax(PixelByPixel):
    """Softmax over the innermost dimension; `exponentials` are Q0.31 for 0 … 255 steps below the maximum."""

    exponentials: NDArray[np.int64]
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "reciprocal", "softmax")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return int_array("int32_t", symbol, self.exponentials, 8)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return f"softmax({site.symbol}, {site.inputs[0]}, {site.output}, {site.pixels}, {self.output.channels});"


def lower_softmax(source: Source, op: Op) -> Softmax:
    """SOFTMAX.

    Raises:
        UnsupportedError: An output that is not int8 at scale 1/256 from -128, which TFLite's kernel assumes.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    if y.dtype != "int8" or y.zero_point != -128 or abs(y.scale * 256 - 1) > 1e-3:
        raise UnsupportedError(
            f"{source.where(op)} has the output scale {y.scale:g} and zero point {y.zero_point}; 1/256 and -128 "
            "are required"
        )
    return Softmax(softmax_exponentials(float(op.options.get("beta", 1.0)), x.scale), y)


@dataclass(frozen=True, eq=False)
class LogSoftmax(PixelByPixel):
    """The logarithm of the softmax over the innermost dimension; `fields` are integers by the C field's name."""

    exponentials: NDArray[np.int64]
    fields: dict[str, int]
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "reciprocal", "log_softmax")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        table = int_array("int32_t", f"{symbol}_exponentials", self.exponentials, 8)
        return table + descriptor("log_softmax", symbol, {"exponentials": f"{symbol}_exponentials", **self.fields})

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return f"log_softmax(&{site.symbol}, {site.inputs[0]}, {site.output}, {site.pixels}, {self.output.channels});"


def lower_log_softmax(source: Source, op: Op) -> LogSoftmax:
    """LOG_SOFTMAX.

    Raises:
        UnsupportedError: An output that is not int8 at scale 1/16 from 127, which TFLite's kernel assumes.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    if y.dtype != "int8" or y.zero_point != 127 or abs(y.scale * 16 - 1) > 1e-3:
        raise UnsupportedError(
            f"{source.where(op)} has the output scale {y.scale:g} and zero point {y.zero_point}; 1/16 and 127 are "
            "required"
        )
    multiplier, shift = softmax_multiplier(1.0, x.scale)
    back, back_shift = quantize_multiplier(2.0 ** (31 - shift) / multiplier)
    fields = {
        "multiplier": multiplier,
        "shift": shift,
        "back_multiplier": back,
        "back_shift": back_shift,
        "least": -input_radius(5, shift),
    }
    return LogSoftmax(softmax_exponentials(1.0, x.scale), fields, y)
