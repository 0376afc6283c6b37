"""UNIDIRECTIONAL_SEQUENCE_LSTM on int8, its cells in 16 bits, both kept from one call to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops._forms import Whole
from mnedge.codegen.program import CallSite, KernelSet, Value, descriptor, int_array
from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import quantize_multiplier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.codegen.source import Source
    from mnedge.graph.graph import Op

# Places among the op's inputs: input weights, hidden weights and biases of each gate, then hidden and cell state.
_GATES = {"input": (1, 5, 12), "forget": (2, 6, 13), "cell": (3, 7, 14), "output": (4, 8, 15)}
_HIDDEN, _CELL, _TANH = 18, 19, "TANH"
_LEFT_OUT = {
    "peepholes": (9, 10, 11), "a projection": (16, 17), "layer normalization": (20, 21, 22, 23),
}  # fmt: skip
# Gates are summed in Q3.12.
_GATE_SCALE = np.float32(2.0**-12)


@dataclass(frozen=True, eq=False)
class Gate:
    """Weights (cells, inputs) and (cells, cells) as int64, biases with the zero points in them, and their rescales."""

    input_weights: NDArray[np.int64]
    hidden_weights: NDArray[np.int64]
    input_bias: NDArray[np.int64]
    hidden_bias: NDArray[np.int64]
    input_rescale: tuple[int, int]
    hidden_rescale: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Lstm(Whole):
    """The steps of a sequence.

    Attributes:
        gates: By name: input, forget, cell and output.
        fields: The other integers, by the C field's name.
        output: The hidden state behind each step.
    """

    gates: dict[str, Gate]
    fields: dict[str, int]
    output: Value

    def macs(self) -> int:
        """See `Kernel`."""
        weights = sum(gate.input_weights.size + gate.hidden_weights.size for gate in self.gates.values())
        return self.fields["steps"] * weights

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "fixed_16", "lstm")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        arrays, fields = [], {}
        for name, gate in self.gates.items():
            prefix = f"{symbol}_{name}"
            for what in ("input", "hidden"):
                arrays.append(int_array("int8_t", f"{prefix}_{what}_weights", getattr(gate, f"{what}_weights")))
                arrays.append(int_array("int32_t", f"{prefix}_{what}_bias", getattr(gate, f"{what}_bias"), 8))
            rescales = (*gate.input_rescale, *gate.hidden_rescale)
            pointers = [f"{prefix}_{what}" for what in ("input_weights", "hidden_weights", "input_bias", "hidden_bias")]
            fields[name] = f"{{{', '.join([*pointers, *map(str, rescales)])}}}"
        return "".join(arrays) + descriptor("lstm", symbol, {**fields, **self.fields})

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return f"lstm(&{site.symbol}, {', '.join(site.inputs)}, {site.output});"


def lower_lstm(source: Source, op: Op) -> Lstm:
    """UNIDIRECTIONAL_SEQUENCE_LSTM with all four gates, as the TFLite converter makes it of Keras' LSTM.

    Raises:
        UnsupportedError: Peepholes, a projection or layer normalization; other activations or dtypes; many sequences.
    """
    for what, places in _LEFT_OUT.items():
        if any(place < len(op.inputs) and op.inputs[place] is not None for place in places):
            raise UnsupportedError(f"{source.where(op)} has {what}; an LSTM without is compiled")
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    hidden, cell = source.value(str(op.inputs[_HIDDEN])), source.graph.tensors[str(op.inputs[_CELL])]
    steps = x.shape[0] * x.shape[1] if len(x.shape) == 3 and 1 in x.shape[:2] else 0
    cells = hidden.channels
    known = "hidden_scale" in op.options and op.inputs[1] is not None
    if not steps or op.options.get("activation") != _TANH or not known or hidden.size_bytes != cells:
        raise UnsupportedError(
            f"{source.where(op)} is over {x.shape} with the activation {op.options.get('activation')}; one sequence, "
            "four gates and TANH are compiled"
        )
    if cell.dtype != "int16" or cell.quantization is None or math.log2(float(cell.quantization.scale[0])) % 1:
        raise UnsupportedError(
            f"{source.where(op)} keeps its cells as {cell.dtype}; int16 in a power of two is compiled"
        )
    cell_scale = float(cell.quantization.scale[0])
    gates = {name: _gate(source, op, places, x, hidden) for name, places in _GATES.items()}
    scale = np.float32(2.0**-15 / float(np.float32(op.options["hidden_scale"])) * 2.0**-15)
    multiplier, shift = quantize_multiplier(float(scale))
    clip = float(op.options.get("cell_clip", 0.0)) / cell_scale
    fields = {
        "steps": steps,
        "inputs": x.channels,
        "cells": cells,
        "cell_shift": int(math.log2(cell_scale)),
        "cell_clip": int(min(clip, 32767.0)),
        "hidden_multiplier": multiplier,
        "hidden_shift": shift,
        "hidden_zero_point": int(op.options["hidden_zero_point"]),
    }
    return Lstm(gates, fields, y)


def _gate(source: Source, op: Op, places: tuple[int, int, int], x: Value, hidden: Value) -> Gate:
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, int]]] = []
    for place, value in ((places[0], x), (places[1], hidden)):
        weights = source.weights(op, place)
        quantization = source.graph.tensors[str(op.inputs[place])].quantization
        assert quantization is not None
        if quantization.scale.size != 1:
            raise UnsupportedError(f"{source.where(op)} has weights with a scale a channel; one scale is compiled")
        real = np.float32(quantization.scale[0]) * np.float32(value.scale) / _GATE_SCALE
        parts.append((weights, -value.zero_point * weights.sum(axis=1), quantize_multiplier(float(real))))
    (input_weights, input_bias, input_rescale), (hidden_weights, hidden_bias, hidden_rescale) = parts
    bias = op.inputs[places[2]]
    if bias is not None:
        input_bias = input_bias + source.constant(bias, op).astype(np.int64).ravel()
    return Gate(input_weights, hidden_weights, input_bias, hidden_bias, input_rescale, hidden_rescale)
