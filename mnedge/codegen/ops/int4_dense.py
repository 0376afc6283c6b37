"""FULLY_CONNECTED with weights of 4 bits: half the flash, for about the same instructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.codegen.ops import packing
from mnedge.codegen.ops.convolution import Convolution, table_pointer
from mnedge.codegen.program import CallSite, KernelSet, descriptor, int_array

if TYPE_CHECKING:
    from mnedge.codegen.ops.rescale import Rescale


@dataclass(frozen=True, eq=False)
class Int4Dense(Convolution):
    """A fully connected layer whose weights lie in -8 … 7."""

    def _is_portable(self, kernels: KernelSet) -> bool:
        return self.variant(kernels).startswith("portable")

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        if not self._is_portable(kernels):
            return (*super().sources(kernels), f"{kernels}_int4")
        return (*super().sources(kernels)[:-1], "portable_int4")

    def _constants(self, symbol: str, kernels: KernelSet, variant: str) -> str:
        if not variant.startswith("portable"):
            arrays, fields = packing.pointwise(self.weights, self.rescale, kernels, symbol, is_int4=True)
            return arrays + descriptor(f"{kernels}_pointwise", symbol, fields)
        rescale: Rescale = self.rescale
        parts = [
            int_array("uint8_t", f"{symbol}_weights", packing.int4_fours(self.weights)),
            int_array("int32_t", f"{symbol}_bias", rescale.bias, 8),
            int_array("int32_t", f"{symbol}_multiplier", rescale.multiplier, 8),
            int_array("int8_t", f"{symbol}_shift", rescale.shift),
        ]
        pointers = {name: f"{symbol}_{name}" for name in ("weights", "bias", "multiplier", "shift")}
        fields = {
            **pointers,
            "table": table_pointer(symbol, rescale.table, parts),
            "input_channels": self.input_channels,
            "output_channels": self.output_channels,
            "zero_point": rescale.zero_point,
            "low": rescale.low,
            "high": rescale.high,
        }
        return "".join(parts) + descriptor("portable_int4", symbol, fields)

    def _call(self, site: CallSite, kernels: KernelSet) -> str:
        arguments = f"&{site.symbol}, {site.inputs[0]}, {site.output}, {self.pixels}"
        if self._is_portable(kernels):
            return f"portable_int4({arguments});"
        return f"{kernels}_int4({arguments}, {site.scratch});"
