"""Ops that work element by element: tables for functions of one value, kernels for functions of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops._forms import PixelByPixel
from mnedge.codegen.program import CallSite, KernelSet, Value, descriptor, int_array
from mnedge.errors import UnsupportedError
from mnedge.graph import arithmetic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op

UNARY = ("EXP", "HARD_SWISH", "LOGISTIC", "QUANTIZE", "RELU", "RELU6")
BINARY = ("ADD", "MAXIMUM", "MINIMUM", "MUL", "SUB")


def evaluate(op: Op, operands: Sequence[NDArray[np.int64]], values: Sequence[Value], y: Value) -> NDArray[np.int64]:
    """What TFLite's reference kernel computes for steps of the operands.

    Args:
        op: One of `UNARY` or `BINARY`.
        operands: Steps of each operand, shapes that broadcast.
        values: Quantization of each operand.
        y: Quantization of the output.

    Returns:
        Output steps within the range of y's dtype.
    """
    if op.kind in UNARY:
        return _UNARY[op.kind](operands[0], values[0], y)
    low, high = arithmetic.activation_range(str(op.options.get("activation", "NONE")), y.scale, y.zero_point, y.dtype)
    (a, b), (first, second) = operands, values
    if op.kind in ("MAXIMUM", "MINIMUM"):
        return (np.maximum if op.kind == "MAXIMUM" else np.minimum)(a, b)
    a, b = a - first.zero_point, b - second.zero_point
    if op.kind == "MUL":
        multiplier, shift = arithmetic.multiply_multiplier(first.scale, second.scale, y.scale)
        return arithmetic.clamp(arithmetic.multiply(a * b, multiplier, shift) + y.zero_point, low, high)
    by_1, by_2, by_sum = arithmetic.add_multipliers(first.scale, second.scale, y.scale)
    a, b = arithmetic.multiply(a << 20, *by_1), arithmetic.multiply(b << 20, *by_2)
    total = a - b if op.kind == "SUB" else a + b
    return arithmetic.clamp(arithmetic.multiply(total, *by_sum) + y.zero_point, low, high)


def _quantize(a: NDArray[np.int64], x: Value, y: Value) -> NDArray[np.int64]:
    steps = arithmetic.requantize(a, x.scale, x.zero_point, y.scale, y.zero_point)
    limits = np.iinfo(y.dtype)
    return arithmetic.clamp(steps, int(limits.min), int(limits.max))


def _relu(activation: str) -> Callable[[NDArray[np.int64], Value, Value], NDArray[np.int64]]:
    def relu(a: NDArray[np.int64], x: Value, y: Value) -> NDArray[np.int64]:
        low, high = arithmetic.activation_range(activation, y.scale, y.zero_point, y.dtype)
        # The runtime divides these two scales in float32.
        multiplier, shift = arithmetic.quantize_multiplier(float(np.float32(x.scale) / np.float32(y.scale)))
        return arithmetic.clamp(arithmetic.multiply(a - x.zero_point, multiplier, shift) + y.zero_point, low, high)

    return relu


_UNARY: dict[str, Callable[[NDArray[np.int64], Value, Value], NDArray[np.int64]]] = {
    "EXP": lambda a, x, y: arithmetic.exponential(a, x.scale, x.zero_point, y.scale, y.zero_point),
    "HARD_SWISH": lambda a, x, y: arithmetic.hard_swish(a, x.scale, x.zero_point, y.scale, y.zero_point),
    "LOGISTIC": lambda a, x, y: arithmetic.logistic(a, x.scale, x.zero_point, y.scale, y.zero_point),
    "QUANTIZE": _quantize,
    "RELU": _relu("RELU"),
    "RELU6": _relu("RELU6"),
}


@dataclass(frozen=True, eq=False)
class Table(PixelByPixel):
    """A function of one value: 256 bytes, exact by construction.

    Attributes:
        table: Output steps for the input steps low … high of its dtype, shape (256,).
        input: The value it reads.
        output: The value it makes.
    """

    table: NDArray[np.int64]
    input: Value
    output: Value

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        return ("mve_requantize", "mve_table") if kernels == "mve" else ("table",)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """The bytes of the table, in the order of the input's bit patterns."""
        del kernels
        offset = 128 if self.input.dtype == "int8" else 0
        by_pattern = np.roll(self.table, -offset) if offset else self.table
        return int_array("uint8_t", symbol, by_pattern & 0xFF)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        count = f"{site.pixels} * {self.output.channels}"
        return f"look_up({site.symbol}, {site.inputs[0]}, {site.output}, {count});"


@dataclass(frozen=True, eq=False)
class Binary(PixelByPixel):
    """A function of two values, the second one of the same shape or one pixel that goes with every pixel.

    Attributes:
        kind: "add", "subtract", "multiply", "maximum" or "minimum".
        fields: Multipliers, shifts, zero points and limits by the C field's name.
        per_channel: Whether the second operand is one pixel.
        constant: The second operand where it is known, int8 as int64.
        table: None, or the 256 steps that replace the steps -128 … 127 when they are stored.
        output: The value it makes.
    """

    kind: str
    fields: Mapping[str, int]
    per_channel: bool
    constant: NDArray[np.int64] | None
    output: Value
    table: NDArray[np.int64] | None = None

    def input_rows(self, row: int, index: int) -> tuple[int, int]:
        """See `Kernel`."""
        return (0, 1) if self.takes_whole(index) else (row, row + 1)

    def takes_whole(self, index: int) -> bool:
        """See `Kernel`."""
        return index == 1 and self.per_channel

    def macs(self) -> int:
        """See `Kernel`."""
        return self.output.size_bytes

    def _function(self, kernels: KernelSet) -> str:
        # The fast kernels saturate, shift to the right, and know no table.
        plain = self.table is None and (self.fields["low"], self.fields["high"]) == (-128, 127)
        fast = kernels != "portable" and self.kind in ("add", "multiply") and plain and self.fields["shift"] < 0
        return f"{kernels if fast else 'portable'}_{self.kind}"

    def with_table(self, table: NDArray[np.int64], output: Value) -> Binary:
        """The same layer with each output step replaced by table[step + 128]."""
        return replace(self, table=table, output=output)

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        function = self._function(kernels)
        if function.startswith("portable"):
            return ("requantize", function)
        return (f"{kernels}_requantize", function)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        arrays = []
        if self.constant is not None:
            arrays.append(int_array("int8_t", f"{symbol}_operand", self.constant))
        pointer = "NULL"
        if self.table is not None:
            arrays.append(int_array("int8_t", f"{symbol}_table", self.table))
            pointer = f"{symbol}_table"
        function = self._function(kernels)
        if function in ("portable_maximum", "portable_minimum"):
            return "".join(arrays)
        return "".join(arrays) + descriptor(function, symbol, {**self.fields, "table": pointer})

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        function = self._function(kernels)
        other = f"{site.symbol}_operand" if self.constant is not None else site.inputs[1]
        runs, length = (site.pixels, str(self.output.channels))
        if not self.per_channel:
            runs, length = "1", f"{site.pixels} * {self.output.channels}"
        first = "" if function in ("portable_maximum", "portable_minimum") else f"&{site.symbol}, "
        return f"{function}({first}{site.inputs[0]}, {other}, {site.output}, {runs}, {length});"


def lower_binary(source: Source, op: Op) -> tuple[tuple[str, ...], Binary]:
    """ADD, SUB, MUL, MAXIMUM and MINIMUM of two values, or of a value and a constant pixel.

    Returns:
        The names of the values it reads, the full-sized one first, and the kernel.

    Raises:
        UnsupportedError: Shapes that broadcast in another way.
    """
    names = [str(name) for name in op.inputs]
    y = source.value(op.outputs[0])
    if source.graph.tensors[names[0]].is_constant or source.value(names[0]).size_bytes < y.size_bytes:
        names.reverse()
    first, second = source.value(names[0]), source.value(names[1])
    per_channel = second.size_bytes != y.size_bytes
    trailing = second.size_bytes == second.channels == y.channels
    reversed_subtraction = op.kind == "SUB" and names[0] != op.inputs[0]
    if first.size_bytes != y.size_bytes or (per_channel and not trailing) or reversed_subtraction:
        raise UnsupportedError(
            f"{source.where(op)} broadcasts {first.shape} and {second.shape}; equal shapes, or one of them a "
            "single pixel of as many channels, are compiled"
        )
    data = source.graph.tensors[names[1]].data
    constant = None if data is None else data.astype(np.int64)
    low, high = arithmetic.activation_range(str(op.options.get("activation", "NONE")), y.scale, y.zero_point)
    fields: dict[str, int] = {
        "zero_point_1": first.zero_point,
        "zero_point_2": second.zero_point,
        "zero_point": y.zero_point,
        "low": low,
        "high": high,
    }
    kinds = {"ADD": "add", "SUB": "subtract", "MUL": "multiply", "MAXIMUM": "maximum", "MINIMUM": "minimum"}
    if op.kind == "MUL":
        fields["multiplier"], fields["shift"] = arithmetic.multiply_multiplier(first.scale, second.scale, y.scale)
    elif op.kind in ("ADD", "SUB"):
        by_1, by_2, by_sum = arithmetic.add_multipliers(first.scale, second.scale, y.scale)
        fields["multiplier_1"], fields["shift_1"] = by_1
        fields["multiplier_2"], fields["shift_2"] = by_2
        fields["multiplier"], fields["shift"] = by_sum
    inputs = (names[0],) if constant is not None else (names[0], names[1])
    return inputs, Binary(kinds[op.kind], fields, per_channel, constant, y)
