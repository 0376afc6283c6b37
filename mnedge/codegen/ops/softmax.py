"""SOFTMAX on int8, with the exponentials of TFLite's fixed point as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.codegen.ops._forms import PixelByPixel
from mnedge.codegen.program import CallSite, KernelSet, Value, int_array
from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import softmax_exponentials

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class Softmax(PixelByPixel):
    """Softmax over the innermost dimension; `exponentials` are Q0.31 for 0 … 255 steps below the maximum."""

    exponentials: NDArray  # type: ignore[type-arg]
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "softmax")

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
            f"{source.where(op)} has the output scale {y.scale:g} and zero point {y.zero_point}; 1/256 and -128 are due"
        )
    return Softmax(softmax_exponentials(float(op.options.get("beta", 1.0)), x.scale), y)
