"""SVDF on int8: a fully connected layer over time, of low rank, its memory in 16 bits kept between calls."""

from __future__ import annotations

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

_FEATURE, _TIME, _BIAS, _STATE = 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class Svdf(Whole):
    """One step in time.

    Attributes:
        feature_weights: int8 as int64, shape (filters, inputs).
        time_weights: int16, shape (filters, memory).
        feature_bias: -input_zero_point * sum(weights) of each filter.
        bias: Bias of each unit.
        fields: The other integers, by the C field's name.
        output: The value it makes.
    """

    feature_weights: NDArray[np.int64]
    time_weights: NDArray[np.int16]
    feature_bias: NDArray[np.int64]
    bias: NDArray[np.int64]
    fields: dict[str, int]
    output: Value

    def macs(self) -> int:
        """See `Kernel`."""
        return int(self.feature_weights.size + self.time_weights.size)

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        del kernels
        return ("requantize", "fixed_16", "svdf")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        arrays: dict[str, tuple[str, NDArray[np.integer]]] = {
            "feature_weights": ("int8_t", self.feature_weights),
            "time_weights": ("int16_t", self.time_weights),
            "feature_bias": ("int32_t", self.feature_bias),
            "bias": ("int32_t", self.bias),
        }
        text = "".join(int_array(kind, f"{symbol}_{name}", data) for name, (kind, data) in arrays.items())
        return text + descriptor("svdf", symbol, {**{name: f"{symbol}_{name}" for name in arrays}, **self.fields})

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        del kernels
        return f"svdf(&{site.symbol}, {', '.join(site.inputs)}, {site.output});"


def lower_svdf(source: Source, op: Op) -> Svdf:
    """SVDF with int8 features, and memory and time weights of 16 bits.

    Raises:
        UnsupportedError: Other dtypes, or an activation that the runtime's integer kernel leaves out.
    """
    x, y = source.value(str(op.inputs[0])), source.value(op.outputs[0])
    features = source.weights(op, _FEATURE)
    time, state = source.graph.tensors[str(op.inputs[_TIME])], source.graph.tensors[str(op.inputs[_STATE])]
    wanted = time.dtype == state.dtype == "int16" and time.quantization is not None and state.quantization is not None
    if not wanted or op.options.get("activation", "NONE") not in ("NONE", "RELU"):
        raise UnsupportedError(
            f"{source.where(op)} has {time.dtype} time weights, {state.dtype} memory and the activation "
            f"{op.options.get('activation', 'NONE')}; int16, int16 and NONE or RELU are compiled"
        )
    feature = source.graph.tensors[str(op.inputs[_FEATURE])]
    assert feature.quantization is not None
    assert time.quantization is not None
    assert state.quantization is not None
    scales = [np.float32(tensor.quantization.scale[0]) for tensor in (feature, time, state) if tensor.quantization]
    times: NDArray[np.int16] = source.constant(time.name, op)
    filters, rank = features.shape[0], int(op.options.get("rank", 1))
    bias = np.zeros(filters // rank, np.int64)
    if op.inputs[_BIAS] is not None:
        bias = source.constant(str(op.inputs[_BIAS]), op).astype(np.int64)
    # The runtime multiplies and divides the scales in float32.
    first = quantize_multiplier(float(np.float32(x.scale) * scales[0] / scales[2]))
    second = quantize_multiplier(float(scales[2] * scales[1] / np.float32(y.scale)))
    fields = {
        "inputs": features.shape[1],
        "memory": times.shape[1],
        "units": filters // rank,
        "rank": rank,
        "feature_multiplier": first[0],
        "feature_shift": first[1],
        "multiplier": second[0],
        "shift": second[1],
        "zero_point": y.zero_point,
    }
    return Svdf(features, times, -x.zero_point * features.sum(axis=1), bias, fields, y)
