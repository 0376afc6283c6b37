"""Scales that XNNPACK refuses, brought to where it takes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.graph.ops import GATHERING, bias_of, data_of, weights_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

# XNNPACK, src/operators and src/subgraph: what a step of the accumulator (or of a product), and a step of a summand,
# may be in steps of the output.
_MOST_PER_ACCUMULATOR = 2.0**8
_ADD_STEPS = (2.0**-10, 2.0**8)
_MAKES_ANY_SCALE = (*GATHERING, "ADD", "MUL", "SUB")
_TAKES_ANY_SCALE = (*GATHERING, "ADD", "MUL", "SUB", "MEAN", "HARD_SWISH", "QUANTIZE", "DEQUANTIZE")


def apply(graph: Graph) -> Graph:
    """Widens the scale of activations that are all but zero.

    XNNPACK refuses a file in which input scale x weight scale / output scale of a convolution is 256 or more, and does
    not take a MUL of which that holds, nor an ADD whose input scale is below 2^-10 or above 2^8 of its output's.
    Calibration breaks this where a layer's outputs are all but zero. A wider scale holds the same values in fewer
    steps; the biases of the layers that read them are rounded again to their new steps. Not exact: the activations
    concerned move by less than one of their new steps. A graph within the limits is left as it is.
    """
    widened = _Widening(graph)
    for op in graph.ops:
        widened.visit(op)
    return widened.result()


class _Widening:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.readers = graph.consumers()
        self.producers = graph.producers()

    def result(self) -> Graph:
        return self.graph.replaced(tensors=self.tensors.values())

    def visit(self, op: Op) -> None:
        if op.kind in GATHERING:
            self._convolution(op)
        elif op.kind in ("ADD", "SUB"):
            self._addition(op)
        elif op.kind == "MUL":
            self._multiplication(op)

    def _scale(self, name: str | None) -> NDArray[np.float64] | None:
        quantization = self.tensors[name].quantization if name is not None else None
        return None if quantization is None else quantization.scale.astype(np.float64)

    def _convolution(self, op: Op) -> None:
        source, weights, result = self._scale(data_of(op)), self._scale(weights_of(op)), self._scale(op.outputs[0])
        if source is None or weights is None or result is None:
            return
        most = float((source * weights).max())
        if most / result[0] >= _MOST_PER_ACCUMULATOR and self._may_widen(op.outputs[0]):
            # Half of the limit: the file's float32 scales must stay below it after rounding.
            self._widen(op.outputs[0], 2 * most / _MOST_PER_ACCUMULATOR)

    def _addition(self, op: Op) -> None:
        result = self._scale(op.outputs[0])
        for name in op.inputs:
            source = self._scale(name)
            if source is None or result is None or name is None or self.tensors[name].is_constant:
                continue
            if source[0] / result[0] < _ADD_STEPS[0] and self._may_widen(name):
                self._widen(name, 2 * _ADD_STEPS[0] * float(result[0]))
            elif source[0] / result[0] >= _ADD_STEPS[1] and self._may_widen(op.outputs[0]):
                self._widen(op.outputs[0], 2 * float(source[0]) / _ADD_STEPS[1])
                result = self._scale(op.outputs[0])

    def _multiplication(self, op: Op) -> None:
        one, other, result = (self._scale(name) for name in (*op.inputs, op.outputs[0]))
        if one is None or other is None or result is None:
            return
        product = float(one[0] * other[0])
        if product / result[0] >= _MOST_PER_ACCUMULATOR and self._may_widen(op.outputs[0]):
            self._widen(op.outputs[0], 2 * product / _MOST_PER_ACCUMULATOR)

    def _may_widen(self, name: str) -> bool:
        producer = self.producers.get(name)
        return (
            name not in self.graph.outputs
            and producer is not None
            and producer.kind in _MAKES_ANY_SCALE
            and all(reader.kind in _TAKES_ANY_SCALE for reader in self.readers[name])
        )

    def _widen(self, name: str, scale: float) -> None:
        tensor = self.tensors[name]
        assert tensor.quantization is not None
        quantization = Quantization(np.array([scale], np.float32), tensor.quantization.zero_point)
        self.tensors[name] = replace(tensor, quantization=quantization)
        for reader in self.readers[name]:
            if reader.kind in GATHERING and data_of(reader) == name:
                self._round_bias(reader)

    def _round_bias(self, op: Op) -> None:
        """Brings a bias to steps of input scale times weight scale."""
        name = bias_of(op)
        source, weights = self._scale(data_of(op)), self._scale(weights_of(op))
        if name is None or source is None or weights is None:
            return
        bias = self.tensors[name]
        if bias.quantization is None or bias.data is None:
            return
        scale = source * weights
        limits = np.iinfo(bias.dtype)
        steps = np.round(bias.data * (bias.quantization.scale.astype(np.float64) / scale))
        quantization = Quantization(
            scale.astype(np.float32), np.zeros(scale.shape, np.int64), 0 if scale.size > 1 else None
        )
        data = np.clip(steps, limits.min, limits.max).astype(bias.dtype)
        self.tensors[name] = replace(bias, data=data, quantization=quantization)
