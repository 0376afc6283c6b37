"""Program: what a Graph becomes before it is C; layers over int8 values, and the words that their kernels share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

KernelSet = Literal["portable", "dsp", "mve"]


@dataclass(frozen=True)
class Value:
    """An activation.

    Attributes:
        name: The tensor's name in the graph.
        shape: As in the graph; batch 1.
        dtype: "int8", "uint8" or "int16"; "int32" or "int64" for indices at the end of a model.
        scale: Real size of one step.
        zero_point: The step that stands for 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    @cached_property
    def channels(self) -> int:
        """Extent of the innermost dimension."""
        return self.shape[-1] if self.shape else 1

    @cached_property
    def columns(self) -> int:
        """Extent of the next dimension, 1 where there is none."""
        return self.shape[-2] if len(self.shape) > 1 else 1

    @cached_property
    def rows(self) -> int:
        """Product of all others."""
        return math.prod(self.shape[:-2])

    @cached_property
    def item_bytes(self) -> int:
        """Bytes of one element."""
        return np.dtype(self.dtype).itemsize

    @cached_property
    def size(self) -> int:
        """Elements of all of it."""
        return self.rows * self.columns * self.channels

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.columns * self.channels * self.item_bytes

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of all of it."""
        return self.rows * self.row_bytes


class Kernel(Protocol):
    """Kernel of a layer; each file of `ops` holds the kernels of one kind of op.

    Attributes:
        form: "window": an output row needs a window of input rows; "pixels": it needs the same row of every
            input, and any run of pixels can be computed in one call; "whole": it needs all of the inputs.
        in_place: An output element may take the place of the first input's element.
        output: The value it makes.
    """

    @property
    def output(self) -> Value:
        """The value it makes."""

    @property
    def form(self) -> Literal["window", "pixels", "whole"]:
        """Dependence of the output on the inputs."""

    @property
    def in_place(self) -> bool:
        """Returns whether an output element may take the place of the first input's."""

    def input_rows(self, row: int, index: int) -> tuple[int, int]:
        """First input row and one past the last that output row `row` reads of input `index`; unclipped."""

    def takes_whole(self, index: int) -> bool:
        """Whether every row reads all of input `index`."""

    def reads_twice(self, kernels: KernelSet) -> bool:
        """Whether a call reads its input again after it has written its output."""

    def scratch_bytes(self, kernels: KernelSet) -> int:
        """Bytes of scratch that one call needs."""

    def macs(self) -> int:
        """Multiply-adds of the whole layer."""

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """Stems of the kernel files it calls, in the order in which C needs them."""

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """C definitions of its weights and of the descriptor called `symbol`."""

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """The C statement that computes one row, a run of pixels or the whole output."""


@dataclass(frozen=True)
class CallSite:
    """The C expressions that a kernel call is made of.

    Attributes:
        symbol: Name of the layer's descriptor.
        inputs: First byte of each input's row, run of pixels or whole; for a window "rows", an array of row
            pointers in which NULL is padding.
        output: First byte of what is written.
        scratch: First byte of the scratch memory.
        pixels: Number of pixels to compute.
    """

    symbol: str
    inputs: tuple[str, ...]
    output: str
    scratch: str
    pixels: str


@dataclass(frozen=True, eq=False)
class Layer:
    """A step of the program.

    Attributes:
        op: TFLite's name of the op, for people.
        inputs: Names of the values it reads.
        output: Name of the value it makes.
        kernel: How.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    kernel: Kernel


@dataclass(frozen=True, eq=False)
class State:
    """A value that lives from one call to the next.

    Attributes:
        name: Its name among the values.
        initial: What NAME_reset puts there, int8 or int16.
    """

    name: str
    initial: NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Program:
    """Layers in order of execution.

    Attributes:
        values: Every activation by name.
        layers: The steps.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        states: State between two calls.
        homes: Values that are written to the place of a state, by name: they are what the next call finds there.
    """

    values: dict[str, Value]
    layers: tuple[Layer, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[State, ...] = ()
    homes: dict[str, str] = field(default_factory=dict)


def int_array(c_type: str, symbol: str, numbers: NDArray[np.integer] | Sequence[int], per_line: int = 24) -> str:
    """A const array in C.

    Args:
        c_type: Element type, with an alignment where it matters.
        symbol: Its name.
        numbers: The elements, flattened.
        per_line: Numbers on a line of source.
    """
    flat = [int(number) for number in getattr(numbers, "ravel", lambda: numbers)()]
    # -2147483648 is two tokens in C, and the 2147483648 of them is no int.
    words = ["(-2147483647 - 1)" if number == -(1 << 31) else str(number) for number in flat]
    lines = [", ".join(words[start : start + per_line]) for start in range(0, len(words), per_line)]
    body = ",\n    ".join(lines)
    return f"static const {c_type} {symbol}[{len(flat)}] = {{\n    {body}\n}};\n"


def descriptor(c_type: str, symbol: str, fields: dict[str, object]) -> str:
    """A const struct in C, one field named a line."""
    body = "\n".join(f"    .{name} = {value}," for name, value in fields.items())
    return f"static const struct {c_type} {symbol} = {{\n{body}\n}};\n"
