"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED of int16 activations with int8 weights (16x8), in portable C."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mnedge.codegen.ops._windowed import Windowed
from mnedge.codegen.ops.packing import fours
from mnedge.codegen.program import CallSite, KernelSet, descriptor, int_array
from mnedge.graph.arithmetic import quantize_multipliers, upper_half

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# LiteRT takes sums of so many bits with their sign, since it multiplies them by 16.
ACCUMULATOR_LIMIT = 1 << 47


@dataclass(frozen=True, eq=False)
class Rescale16:
    """From the sum of each output channel to int16; both zero points are 0.

    Attributes:
        bias: int64, shape (channels,).
        reals: Real factor of a sum, float64, shape (channels,).
        low: Smallest output step.
        high: Largest output step.
        is_narrow: Whether no sum passes 32 bits.
        how: "wide": by 16 bits of the multiplier, ties up, as LiteRT scales 64-bit sums; "twice": as it scales 32-bit
            sums; "real": in float64, ties away from zero, as its FULLY_CONNECTED does.
    """

    bias: NDArray[np.int64]
    reals: NDArray[np.float64]
    low: int
    high: int
    is_narrow: bool
    how: Literal["wide", "twice", "real"]


@dataclass(frozen=True, eq=False)
class Convolution16(Windowed):
    """A convolution of int16 steps.

    Attributes:
        rescale: From sums to steps.
    """

    rescale: Rescale16

    def scratch_bytes(self, kernels: KernelSet) -> int:
        """See `Kernel`."""
        del kernels
        # A pixel of padding.
        return 2 * self.input_channels if self.depthwise else 0

    @property
    def _kernel(self) -> str:
        return f"int16_{'depthwise' if self.depthwise else 'fully_connected' if self.is_flat else 'convolution'}"

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        if self.is_flat:
            return ("int16_sums", self._kernel)
        shared = ("requantize", "int16_steps")
        return (*shared, "geometry", "taps", self._kernel) if self.depthwise else (*shared, "int16_sums", self._kernel)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        rescale = self.rescale
        weights = self.weights if self.depthwise else fours(self.weights)
        arrays = [
            int_array("int8_t", f"{symbol}_weights", weights),
            int_array("int64_t", f"{symbol}_bias", rescale.bias, 8),
        ]
        fields: dict[str, object] = {"weights": f"{symbol}_weights"}
        limits = {"low": rescale.low, "high": rescale.high}
        if rescale.how == "real":
            reals = ", ".join(repr(float(real)) for real in rescale.reals)
            arrays.append(f"static const double {symbol}_real[{self.output_channels}] = {{{reals}}};\n")
            fields = {**fields, "bias": f"{symbol}_bias", "real": f"{symbol}_real", **limits}
        else:
            multiplier, shift = quantize_multipliers(rescale.reals)
            multiplier = upper_half(multiplier) if rescale.how == "wide" else multiplier
            arrays.append(int_array("int32_t", f"{symbol}_multiplier", multiplier, 8))
            arrays.append(int_array("int8_t", f"{symbol}_shift", shift))
            steps: dict[str, object] = {name: f"{symbol}_{name}" for name in ("bias", "multiplier", "shift")}
            steps = {**steps, **limits, "round_twice": int(rescale.how == "twice")}
            fields["steps"] = "{" + ", ".join(f".{name} = {value}" for name, value in steps.items()) + "}"
        fields = {**fields, "output_channels": self.output_channels, "is_narrow": int(rescale.is_narrow)}
        return "".join(arrays) + descriptor(self._kernel, symbol, {**fields, **self._geometry()})

    def _geometry(self) -> dict[str, object]:
        if self.is_flat:
            return {"depth": self.input_channels}
        window = self.window
        fields: dict[str, object] = {
            "input_columns": 0 if self.form == "pixels" else self.input.columns,
            "input_channels": self.input_channels,
            "kernel_rows": window.rows,
            "kernel_columns": window.columns,
            "stride": window.stride_columns,
            "dilation": window.dilation_columns,
            "pad_left": window.pad_left,
        }
        if not self.depthwise:
            return fields
        # Taps are pointers to bytes.
        fields = {**fields, "input_channels": 2 * self.input_channels, "pad_value": 0}
        fields["output_columns"] = self.output.columns
        inner = "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"
        return {"geometry": inner, "multiplicity": self.output_channels // self.input_channels}

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        start = f"{self._kernel}(&{site.symbol}"
        if self.is_flat:
            return f"{start}, {site.inputs[0]}, {site.output}, {self.pixels});"
        if self.depthwise:
            taps = self.window.rows * self.window.columns
            call = f"{start}, {site.inputs[0]}, {site.output}, {site.scratch}, taps);"
            return f"const int8_t *taps[{taps}];\n        {call}"
        if self.form == "pixels":
            row = f"const int8_t *const one_row[1] = {{{site.inputs[0]}}};"
            return f"{{\n        {row}\n        {start}, one_row, {site.output}, {site.pixels});\n    }}"
        return f"{start}, {site.inputs[0]}, {site.output}, {self.output.columns});"
