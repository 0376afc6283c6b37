"""Ops that work element by element: tables for functions of one value, kernels for functions of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.codegen.ops._forms import PixelByPixel
from mnedge.codegen.ops.move import expanded
from mnedge.codegen.program import CallSite, KernelSet, Layer, Value, descriptor, int_array
from mnedge.errors import UnsupportedError
from mnedge.graph import arithmetic
from mnedge.graph.ops import OPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op

UNARY = (
    "EXP", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "TANH",
)  # fmt: skip
BINARY = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SUB")


def evaluate(op: Op, operands: Sequence[NDArray[np.int64]], values: Sequence[Value], y: Value) -> NDArray[np.int64]:
    """Returns the result of TFLite's reference kernel for steps of the operands.

    Args:
        op: One of `UNARY` or `BINARY`.
        operands: Steps of each operand, shapes that broadcast.
        values: Quantization of each operand.
        y: Quantization of the output.

    Returns:
        Output steps within the range of y's dtype.
    """
    if op.kind in UNARY:
        if op.kind == "LEAKY_RELU":
            return _leaky_relu(float(op.options.get("alpha", 0.0)), operands[0], values[0], y)
        return _UNARY[op.kind](operands[0], values[0], y)
    low, high = arithmetic.activation_range(str(op.options.get("activation", "NONE")), y.scale, y.zero_point, y.dtype)
    (a, b), (first, second) = operands, values
    if op.kind in ("MAXIMUM", "MINIMUM"):
        return (np.maximum if op.kind == "MAXIMUM" else np.minimum)(a, b)
    a, b = a - first.zero_point, b - second.zero_point
    if op.kind == "MUL":
        multiplier, shift = arithmetic.multiply_multiplier(first.scale, second.scale, y.scale)
        return arithmetic.clamp(arithmetic.multiply(a * b, multiplier, shift) + y.zero_point, low, high)
    if op.kind == "DIV":
        multiplier, shift = arithmetic.divide_multiplier(first.scale, second.scale, y.scale)
        return arithmetic.clamp(arithmetic.divide(a, b, multiplier, shift) + y.zero_point, low, high)
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


def _leaky_relu(alpha: float, a: NDArray[np.int64], x: Value, y: Value) -> NDArray[np.int64]:
    # The runtime multiplies and divides these in float32.
    ratio = np.float32(x.scale) / np.float32(y.scale)
    slope = np.float32(x.scale) * np.float32(alpha) / np.float32(y.scale)
    centred = a - x.zero_point
    above = arithmetic.multiply(centred, *arithmetic.quantize_multiplier(float(ratio)))
    below = arithmetic.multiply(centred, *arithmetic.quantize_signed_multiplier(float(slope)))
    return arithmetic.clamp(np.where(centred >= 0, above, below) + y.zero_point)


_UNARY: dict[str, Callable[[NDArray[np.int64], Value, Value], NDArray[np.int64]]] = {
    "EXP": lambda a, x, y: arithmetic.exponential(a, x.scale, x.zero_point, y.scale, y.zero_point),
    "HARD_SWISH": lambda a, x, y: arithmetic.hard_swish(a, x.scale, x.zero_point, y.scale, y.zero_point),
    "LOGISTIC": lambda a, x, y: arithmetic.logistic(a, x.scale, x.zero_point, y.scale, y.zero_point),
    "QUANTIZE": _quantize,
    "RELU": _relu("RELU"),
    "RELU6": _relu("RELU6"),
    "RELU_N1_TO_1": _relu("RELU_N1_TO_1"),
    "TANH": lambda a, x, y: arithmetic.hyperbolic_tangent(a, x.scale, x.zero_point, y.scale, y.zero_point),
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
        function = "mve_look_up" if kernels == "mve" else "look_up"
        count = f"{site.pixels} * {self.output.channels}"
        return f"{function}({site.symbol}, {site.inputs[0]}, {site.output}, {count});"


@dataclass(frozen=True, eq=False)
class Binary(PixelByPixel):
    """A function of two values, the second one of the same shape or one pixel that goes with every pixel.

    Attributes:
        kind: "add", "subtract", "multiply", "divide", "maximum" or "minimum".
        fields: Multipliers, shifts, zero points and limits by the C field's name.
        per_channel: Whether the second operand is one pixel.
        constant: The second operand where it is known, as int64.
        first: The first operand where that is known, of the output's size.
        table: None, or the 256 steps that replace the steps -128 … 127 when they are stored.
        output: The value it makes.
    """

    kind: str
    fields: Mapping[str, int]
    per_channel: bool
    constant: NDArray[np.int64] | None
    first: NDArray[np.int64] | None
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
        return self.output.size

    def _function(self, kernels: KernelSet) -> str:
        if self.output.dtype == "int16":
            return f"int16_{'add' if self.kind == 'subtract' else self.kind}"
        # The fast kernels saturate, shift to the right, and know no table.
        plain = self.table is None and (self.fields["low"], self.fields["high"]) == (-128, 127)
        fast = (
            kernels != "portable"
            and self.kind in ("add", "multiply")
            and plain
            and self.first is None
            and self.fields["shift"] < 0
        )
        return f"{kernels if fast else 'portable'}_{self.kind}"

    def with_table(self, table: NDArray[np.int64], output: Value) -> Binary:
        """The same layer with each output step replaced by table[step + 128]."""
        return replace(self, table=table, output=output)

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        function = self._function(kernels)
        if function.startswith(("portable", "int16")):
            return ("requantize", *(("reciprocal",) if self.kind == "divide" else ()), function)
        return (f"{kernels}_requantize", function)

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        arrays, c_type = [], f"{self.output.dtype}_t"
        if self.first is not None:
            arrays.append(int_array(c_type, f"{symbol}_first", self.first))
        if self.constant is not None:
            arrays.append(int_array(c_type, f"{symbol}_operand", self.constant))
        pointer = "NULL"
        if self.table is not None:
            arrays.append(int_array("int8_t", f"{symbol}_table", self.table))
            pointer = f"{symbol}_table"
        function = self._function(kernels)
        if self.kind in _CHOICES:
            return "".join(arrays)
        if function.startswith("int16"):
            sign = {} if self.kind == "multiply" else {"sign": -1 if self.kind == "subtract" else 1}
            return "".join(arrays) + descriptor(function, symbol, {**self.fields, **sign})
        return "".join(arrays) + descriptor(function, symbol, {**self.fields, "table": pointer})

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        function = self._function(kernels)
        computed = iter(site.inputs)
        one = next(computed) if self.first is None else f"{site.symbol}_first"
        other = next(computed) if self.constant is None else f"{site.symbol}_operand"
        runs, length = (site.pixels, str(self.output.channels))
        if not self.per_channel:
            runs, length = "1", f"{site.pixels} * {self.output.channels}"
        first = "" if self.kind in _CHOICES else f"&{site.symbol}, "
        return f"{function}({first}{one}, {other}, {site.output}, {runs}, {length});"


@dataclass(frozen=True, eq=False)
class BinaryOfConstant(Binary):
    """A function of a constant and a value: computed in one call, since no run of pixels says where it starts."""

    form: Literal["window", "pixels", "whole"] = "whole"


_KINDS = {
    "ADD": "add", "DIV": "divide", "MAXIMUM": "maximum", "MINIMUM": "minimum", "MUL": "multiply", "SUB": "subtract",
}  # fmt: skip
# Kinds without parameters.
_CHOICES = ("maximum", "minimum")


def lower_binary(source: Source, op: Op) -> list[Layer]:
    """An op of two values that broadcast, or of a value and a constant.

    Kernels repeat a second operand of one pixel; layers of their own repeat what else is smaller than the output.

    Raises:
        UnsupportedError: A repetition along too many dimensions, or an op of two constants.
    """
    names = [str(name) for name in op.inputs]
    y = source.value(op.outputs[0])
    tensors = source.graph.tensors
    if all(tensors[name].is_constant for name in names):
        raise UnsupportedError(f"{source.where(op)} reads constants only; simplify the model first")
    if OPS[op.kind].commutative and (tensors[names[0]].is_constant or source.value(names[0]).size_bytes < y.size_bytes):
        names.reverse()
    values = [source.value(name) for name in names]
    one_pixel = values[1].size == values[1].channels == y.channels
    layers: list[Layer] = []
    inputs: list[str] = []
    constants: list[NDArray[np.int64] | None] = []
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        data = tensors[name].data
        whole = value.size_bytes == y.size_bytes or (place == 1 and one_pixel)
        if data is not None:
            known = data.astype(np.int64)
            constants.append(known if whole else np.broadcast_to(known, y.shape))
            continue
        constants.append(None)
        if not whole:
            repeat = expanded(value, y, f"{name} (repeated for {y.name})")
            layers.append(Layer(f"repeat for {op.kind}", (name,), repeat.output.name, repeat))
            name = repeat.output.name  # noqa: PLW2901 - what stands in for it
        inputs.append(name)
    kernel = _binary(op, values, y, per_channel=one_pixel and values[1].size_bytes != y.size_bytes, constants=constants)
    return [*layers, Layer(op.kind, tuple(inputs), y.name, kernel)]


def _binary(
    op: Op, values: Sequence[Value], y: Value, *, per_channel: bool, constants: Sequence[NDArray[np.int64] | None]
) -> Binary:
    first, second = values
    activation = str(op.options.get("activation", "NONE"))
    low, high = arithmetic.activation_range(activation, y.scale, y.zero_point, y.dtype)
    fields: dict[str, int] = {
        "zero_point_1": first.zero_point,
        "zero_point_2": second.zero_point,
        "zero_point": y.zero_point,
        "low": low,
        "high": high,
    }
    if op.kind == "MUL":
        fields["multiplier"], fields["shift"] = arithmetic.multiply_multiplier(first.scale, second.scale, y.scale)
    elif op.kind == "DIV":
        fields["multiplier"], fields["shift"] = arithmetic.divide_multiplier(first.scale, second.scale, y.scale)
    elif op.kind in ("ADD", "SUB"):
        left = 15 if y.dtype == "int16" else 20
        by_1, by_2, by_sum = arithmetic.add_multipliers(first.scale, second.scale, y.scale, left)
        fields["multiplier_1"], fields["shift_1"] = by_1
        fields["multiplier_2"], fields["shift_2"] = by_2
        fields["multiplier"], fields["shift"] = by_sum
    kind = Binary if constants[0] is None else BinaryOfConstant
    return kind(_KINDS[op.kind], fields, per_channel, constants[1], constants[0], y)
