"""Ops on int16 activations that work element by element: QUANTIZE, RELU, LEAKY_RELU, LOGISTIC, TANH and SOFTMAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.codegen.ops._forms import PixelByPixel
from mnedge.codegen.program import descriptor, int_array
from mnedge.errors import UnsupportedError
from mnedge.graph import arithmetic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.codegen.program import CallSite, KernelSet, Value
    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op

_RELUS = ("RELU", "RELU6", "RELU_N1_TO_1")


@dataclass(frozen=True, eq=False)
class Requantize16(PixelByPixel):
    """Steps of another scale, from int8 or int16 to int8 or int16.

    Attributes:
        fields: Zero points, multiplier, shift and limits by the C field's name.
        input: The value it reads.
        output: The value it makes.
        in_place: Whether an element of the output is as large as one of the input.
    """

    fields: Mapping[str, int]
    input: Value
    output: Value

    @property
    def in_place(self) -> bool:  # type: ignore[override]
        """Whether an element of the output is as large as one of the input."""
        return self.input.item_bytes == self.output.item_bytes

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "int16_requantize")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return descriptor("int16_requantize", symbol, dict(self.fields))

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        count = f"{site.pixels} * {self.output.channels}"
        return f"int16_requantize(&{site.symbol}, {site.inputs[0]}, {site.output}, {count});"


def lower_requantize_16(source: Source, op: Op) -> Requantize16:
    """QUANTIZE between int8 and int16, and RELU, RELU6 and RELU_N1_TO_1 on int16."""
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    limits = np.iinfo(y.dtype)
    low, high = int(limits.min), int(limits.max)
    ratio = float(np.float64(x.scale) / np.float64(y.scale))
    if op.kind in _RELUS:
        low, high = arithmetic.activation_range(op.kind, y.scale, y.zero_point, y.dtype)
        # The runtime divides these two scales in float32.
        ratio = float(np.float32(x.scale) / np.float32(y.scale))
    multiplier, shift = arithmetic.quantize_multiplier(ratio)
    if shift > _MOST_LEFT:
        raise UnsupportedError(
            f"{source.where(op)} makes steps of {y.scale:g} of steps of {x.scale:g}, so that int16 steps pass 32 bits"
        )
    fields = {
        "from_bytes": int(x.item_bytes == 1),
        "to_bytes": int(y.item_bytes == 1),
        "zero_point_1": x.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": y.zero_point,
        "low": low,
        "high": high,
    }
    return Requantize16(fields, x, y)


# 16 bits with their sign, shifted so far, still fit 32.
_MOST_LEFT = 15


@dataclass(frozen=True, eq=False)
class LeakyRelu16(PixelByPixel):
    """LEAKY_RELU on int16.

    Attributes:
        fields: Multipliers and shifts by the C field's name.
        output: The value it makes.
    """

    fields: Mapping[str, int]
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "int16_leaky_relu")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return descriptor("int16_leaky_relu", symbol, dict(self.fields))

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        count = f"{site.pixels} * {self.output.channels}"
        return f"int16_leaky_relu(&{site.symbol}, {site.inputs[0]}, {site.output}, {count});"


def lower_leaky_relu_16(source: Source, op: Op) -> LeakyRelu16:
    """LEAKY_RELU on int16.

    Raises:
        UnsupportedError: Steps so much finer than the input's that they pass 32 bits.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    # The runtime multiplies and divides these in float32.
    ratio = np.float32(x.scale) / np.float32(y.scale)
    slope = np.float32(x.scale) * np.float32(op.options.get("alpha", 0.0)) / np.float32(y.scale)
    multiplier, shift = arithmetic.quantize_multiplier(float(ratio))
    negative_multiplier, negative_shift = arithmetic.quantize_signed_multiplier(float(slope))
    if max(shift, negative_shift) > _MOST_LEFT:
        raise UnsupportedError(
            f"{source.where(op)} makes steps of {y.scale:g} of steps of {x.scale:g}, so that int16 steps pass 32 bits"
        )
    fields = {
        "multiplier": multiplier,
        "shift": shift,
        "negative_multiplier": negative_multiplier,
        "negative_shift": negative_shift,
    }
    return LeakyRelu16(fields, y)


@dataclass(frozen=True, eq=False)
class Sigmoid16(PixelByPixel):
    """LOGISTIC or TANH, interpolated between 256 values of the logistic function, as TFLite has it in int16.

    Attributes:
        kind: Which function.
        multiplier: From input steps to 1 / 12288, with the shift.
        shift: To the right.
        output: The value it makes.
    """

    kind: Literal["logistic", "tangent"]
    multiplier: int
    shift: int
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("int16_sigmoid",)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return int_array("uint16_t", symbol, arithmetic.sigmoid_table())

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        count = f"{site.pixels} * {self.output.channels}"
        scaled = f"{self.multiplier}, {self.shift}, {int(self.kind == 'tangent')}"
        return f"int16_sigmoid({site.symbol}, {site.inputs[0]}, {site.output}, {count}, {scaled});"


def lower_sigmoid_16(source: Source, op: Op) -> Sigmoid16:
    """LOGISTIC and TANH on int16.

    Raises:
        UnsupportedError: An output that is not at scale 1/32768, which TFLite's kernel assumes.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    if y.scale != 1 / 32768:
        raise UnsupportedError(f"{source.where(op)} has the output scale {y.scale:g}; 1/32768 is required in int16")
    kind: Literal["logistic", "tangent"] = "tangent" if op.kind == "TANH" else "logistic"
    exponent = arithmetic.nearest_power(x.scale)
    if exponent == -12 or (exponent == -11 and kind == "tangent"):
        return Sigmoid16(kind, 3 << (12 + exponent), 0, y)
    # The runtime takes as many bits as a product of 32 bits leaves room for.
    multiplier, shift = float(np.float32(x.scale)) * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2.0, shift + 1
    return Sigmoid16(kind, int(multiplier), shift, y)


@dataclass(frozen=True, eq=False)
class Softmax16(PixelByPixel):
    """Softmax over the innermost dimension of int16, by two tables that are interpolated."""

    multiplier: int
    shift: int
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "int16_softmax")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        exponentials, reciprocals = arithmetic.softmax_tables_16()
        arrays = int_array("int16_t", f"{symbol}_exponentials", exponentials)
        return arrays + int_array("int16_t", f"{symbol}_reciprocals", reciprocals)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        tables = f"{site.symbol}_exponentials, {site.symbol}_reciprocals"
        runs = f"{site.pixels}, {self.output.channels}, {self.multiplier}, {self.shift}"
        return f"int16_softmax({tables}, {site.inputs[0]}, {site.output}, {runs});"


def lower_softmax_16(source: Source, op: Op) -> Softmax16:
    """SOFTMAX on int16.

    Raises:
        UnsupportedError: An output that is not at scale 1/32768, which TFLite's kernel assumes; or rows so long that
            their sums pass 32 bits.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    beta = np.float32(op.options.get("beta", 1.0))
    multiplier, shift = arithmetic.quantize_multiplier(float(np.float32(x.scale) * beta) / (10.0 / 65535.0))
    if abs(y.scale * 32768 - 1) > 1e-3 or y.channels > _LONGEST_ROW or shift >= _MOST_LEFT:
        raise UnsupportedError(
            f"{source.where(op)} reads rows of {y.channels:,} at scale {x.scale:g} and makes the scale {y.scale:g}; "
            f"at most {_LONGEST_ROW:,}, a scale below 2, and 1/32768 are required in int16"
        )
    return Softmax16(multiplier, shift, y)


# So many exponentials of at most 1 fit a sum of 32 bits in Q16.15.
_LONGEST_ROW = 65535
