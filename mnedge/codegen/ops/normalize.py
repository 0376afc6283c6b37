"""L2_NORMALIZATION on int8: each row of channels brought to length 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.codegen.ops._forms import PixelByPixel
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from mnedge.codegen.program import CallSite, KernelSet, Value
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op


@dataclass(frozen=True, eq=False)
class L2Normalize(PixelByPixel):
    """Rows of channels divided by their length; the output has scale 1/128 and zero point 0."""

    zero_point: int
    output: Value

    def macs(self) -> int:
        """See `Kernel`."""
        return 2 * self.output.size_bytes

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "l2_normalize")

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        runs = f"{site.pixels}, {self.output.channels}"
        return f"l2_normalize({self.zero_point}, {site.inputs[0]}, {site.output}, {runs});"


def lower_l2_normalization(source: Source, op: Op) -> L2Normalize:
    """L2_NORMALIZATION over the innermost dimension.

    Raises:
        UnsupportedError: An output that is not at scale 1/128 from 0, which TFLite's kernel assumes.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    if y.zero_point != 0 or abs(y.scale * 128 - 1) > 1e-3:
        raise UnsupportedError(
            f"{source.where(op)} has the output scale {y.scale:g} and zero point {y.zero_point}; 1/128 and 0 are "
            "required"
        )
    return L2Normalize(x.zero_point, y)
